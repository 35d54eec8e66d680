"""`birefnet-batch-engines list`, `verify` and `prune`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

from birefnet_batch.engines.artifact import label, source_digest
from birefnet_batch.engines.memory import is_out_of_memory
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.store_entry import Entry
from birefnet_batch.engines.store_names import CACHES
from birefnet_batch.errors import BirefnetBatchError, EngineError, WeightsError
from birefnet_batch.models.registry import Catalogue
from birefnet_batch.models.weights import locate_weights, option_of

_DAY = 86400.0


def list_engines(store: EngineStore) -> None:
    """Print a line for each engine, and who builds one now."""
    entries = list(store.entries())
    print(f"{store.root}: {len(entries)} engines, {sum(entry.size for entry in entries) / 1e9:.2f} GB")
    now = time.time()
    widest = max((len(label(entry.artifact)) for entry in entries), default=0)
    for entry in entries:
        made, used = _age(now - entry.facts["created"]), _age(now - entry.used)
        size = f"{entry.size / 1e6:7.1f} MB"
        for unit in ("nodes", "layers"):
            size += f", {entry.facts['facts'][unit]} {unit}" if unit in entry.facts["facts"] else ""
        stale = _of_another_library(entry) if _current(entry) else ", of an earlier version: prune removes it"
        print(f"{entry.key}  {label(entry.artifact):{widest}} {size}  made {made} ago, used {used} ago{stale}")
    for what, folders in (("damaged", store.broken()), ("left by processes that were killed", store.leftovers())):
        if folders:
            print(f"{len(folders)} {what}, {sum(map(_bytes_in, folders)) / 1e6:.1f} MB: prune removes them")
    for line in store.building():
        print(f"building {line}")
    for name, paths in store.caches().items():
        print(f"{name}: {sum(map(_bytes_in, paths)) / 1e6:.1f} MB of {CACHES[name]}")


def verify(store: EngineStore, weights: Mapping[str, str], models: Catalogue) -> bool:
    """Check each engine's digest, run it, and print how far it is from torch in float32.

    Args:
        store: which store.
        weights: by short name where a model's checkpoint is, where it is not the usual one.
        models: those that there are.

    Returns:
        Whether none is damaged or wrong; what cannot be run here is said, and is neither.
    """
    broken, entries = store.broken(), list(store.entries())
    if not broken and not entries:
        print(f"{store.root}: 0 engines")
    for folder in broken:
        print(f"{folder.name}  damaged: files are missing, unreadable or another engine's; made again at its next use")
    right = not broken
    for entry in entries:
        if not entry.intact():
            right = False
            print(f"{entry.key}  {label(entry.artifact)}: damaged; it is made again at its next use")
            continue
        try:
            found = _run(entry, weights.get(entry.artifact["model"]), models)
        except Exception as error:
            if is_out_of_memory(error):
                found = "intact; not run: too little memory"
            elif isinstance(error, BirefnetBatchError):
                right = False
                found = str(error)
            else:
                raise
        print(f"{entry.key}  {label(entry.artifact)}: {found}", flush=True)
    return right


def prune(store: EngineStore, unused_days: float | None, everything: bool) -> None:
    """Remove engines of earlier versions of the exporter, damaged ones, and those that nobody has used for so long.

    Args:
        store: which store.
        unused_days: since the last use; None keeps all of this version.
        everything: remove them all.
    """
    freed, now = 0, time.time()
    for entry in list(store.entries()):
        old = unused_days is not None and now - entry.used > unused_days * _DAY
        asked = everything or old or not _current(entry)
        if asked or not entry.intact():
            store.remove(store.root / entry.key)
            freed += entry.size
            print(f"removed {entry.key}  {label(entry.artifact)}{'' if asked else ', damaged'}")
    for what, folders in (("damaged", store.broken()), ("left by a process that was killed", store.leftovers())):
        for folder in folders:
            freed += _bytes_in(folder)
            store.remove(folder)
            print(f"removed {folder.name}, {what}")
    for name, paths in store.caches().items() if everything else ():
        freed += sum(map(_bytes_in, paths))
        _remove_cache(store.root / name, paths)
        print(f"removed {CACHES[name]}")
    print(f"{freed / 1e6:.1f} MB freed")


def _run(entry: Entry, weights: str | None, models: Catalogue) -> str:
    artifact = entry.artifact
    if artifact["model"] not in models.short_names:
        return f"intact; not run: {artifact['model']} is no model here (--models FILE)"
    model = models.find(artifact["model"])
    try:
        checkpoint = locate_weights(model, weights, given_by=option_of(model, named=True))
    except WeightsError as error:
        if weights is not None:
            raise
        return f"intact; not run: {error}"
    if checkpoint.sha256 != artifact["weights_sha256"]:
        return "intact; not run: its weights are not those of this model here (--weights MODEL=WHERE)"
    size = cast(tuple[int, int], (artifact["width"], artifact["height"]))
    if artifact["kind"] == "onnx":
        from birefnet_batch.engines.onnx_export.check import checked
        from birefnet_batch.engines.onnx_session import require_provider

        form = artifact["options"]["deform_conv"]
        try:
            require_provider("cpu", form)
        except EngineError as error:
            return f"intact; not run: {error}"
        found = checked(entry.path, model, checkpoint, size, artifact["precision"], 1, form)
        return f"intact; against torch in fp32: {found}"
    import torch

    if not torch.cuda.is_available():
        return "intact; not run: there is no GPU"
    from birefnet_batch.engines.plan_check import check_plan
    from birefnet_batch.engines.stored_plan import plan_device
    from birefnet_batch.engines.tensorrt_module import load_tensorrt

    try:
        library = load_tensorrt()
    except EngineError as error:
        return f"intact; not run: {error}"
    if artifact["libraries"] != {library.name: library.version}:
        return f"intact; not run: here is {library.name} {library.version}"
    if artifact["device"] != plan_device(library):
        return f"intact; not run: it is of another device ({', '.join(artifact['device'].values())})"
    difference = check_plan(entry.path, library, model, checkpoint, size, artifact["batch"], artifact["precision"])
    return f"intact; against torch in fp32: {difference}"


def _remove_cache(folder: Path, paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            # Others may have removed it, or the user may not.
            with suppress(OSError):
                path.unlink()
    with suppress(OSError):
        folder.rmdir()


def _bytes_in(where: Path) -> int:
    found = 0
    for path in (where, *where.rglob("*")):
        # Others may remove it meanwhile.
        with suppress(OSError):
            found += path.stat().st_size if path.is_file() else 0
    return found


def _current(entry: Entry) -> bool:
    return bool(entry.artifact["code"] == source_digest(entry.artifact["kind"]))


def _of_another_library(entry: Entry) -> str:
    """What is said of a plan that the library here does not open; another machine with this store may."""
    from birefnet_batch.engines.tensorrt_module import load_tensorrt

    if entry.artifact["kind"] != "plan":
        return ""
    try:
        library = load_tensorrt()
    except EngineError:
        return ""
    if entry.artifact["libraries"] == {library.name: library.version}:
        return ""
    return (
        f", which no run with {library.name} {library.version}, as it is here, opens; prune --unused-days N removes it"
    )


def _age(seconds: float) -> str:
    for unit, length in (("d", _DAY), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
