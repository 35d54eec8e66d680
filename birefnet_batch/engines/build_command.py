"""`birefnet-batch-engines build`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from birefnet_batch.engines.matrix import Row, default_matrix, read_matrix
from birefnet_batch.engines.onnx_session import form_of, require_precision, require_provider
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.stored_onnx import stored_onnx
from birefnet_batch.engines.tensorrt_module import check_capabilities, load_tensorrt
from birefnet_batch.errors import BirefnetBatchError, ConfigError, EngineError
from birefnet_batch.models.registry import Catalogue
from birefnet_batch.models.weights import locate_weights, option_of


def build(
    store: EngineStore,
    matrix: Path | None,
    models: Catalogue,
    names: Sequence[str],
    engines: Sequence[str],
    weights: Mapping[str, str],
    capabilities: tuple[str, ...],
    workspace_bytes: int | None = None,
) -> bool:
    """Build the matrix's rows, one after another, and say what came of each.

    Args:
        store: where they go.
        matrix: the file; None is the shipped one.
        models: those that rows may name.
        names: short names of those to build; none is all.
        engines: families; none is all.
        weights: by short name where a model's checkpoint is, where it is not the usual one.
        capabilities: TensorRT-RTX: GPUs to compile for without one, as SM89; a plan for each.
        workspace_bytes: of plans: memory that a layer may use, as the runs are to ask for; None is the library's limit.

    Returns:
        Whether no row failed, and of all that is named there was one; others that this machine cannot run are no
        failures.

    Raises:
        ConfigError: the matrix is wrong, or has no row of what is named, or an option that means nothing here.
    """
    rows = _asked_for(matrix or default_matrix(), models, names, engines)
    of_plans = {"--compute-capability": capabilities, "--workspace-gib": workspace_bytes}
    given = [option for option, value in of_plans.items() if value]
    if given and all(row.engine != "tensorrt" for row in rows):
        raise ConfigError(f"{given[0]} is of plans, and no row to build has engine tensorrt; leave it out")
    if capabilities:
        _check_capabilities(capabilities)
    failed, here = 0, set[str]()
    for number, row in enumerate(rows, 1):
        place = f"[{number}/{len(rows)}] {row}"
        reason = _not_here(row, capabilities)
        if reason is not None:
            print(f"{place}: left out: {reason}", flush=True)
            continue
        here |= {row.model.short_name, row.engine}
        print(f"{place} ...", flush=True)
        for capability in capabilities if row.engine == "tensorrt" and capabilities else (None,):
            which = f" for {capability}" if capability else ""
            started = time.perf_counter()
            try:
                built = _build(store, row, weights.get(row.model.short_name), capability, workspace_bytes)
                # Built before there was a shared store, or while it could not be reached.
                store.offer(built)
            except BirefnetBatchError as error:
                failed += 1
                print(f"{place}{which}: failed: {error}", flush=True)
                continue
            size, seconds = built.stat().st_size / 1e6, time.perf_counter() - started
            print(f"{place}{which}: {built.parent.name}, {size:.0f} MB, {seconds:.0f} s", flush=True)
    unmet = [name for name in dict.fromkeys((*names, *engines)) if name not in here]
    if unmet:
        print(f"nothing was built of {', '.join(unmet)}", flush=True)
    return failed == 0 and not unmet


def _asked_for(matrix: Path, models: Catalogue, names: Sequence[str], engines: Sequence[str]) -> list[Row]:
    rows = [
        row
        for row in read_matrix(matrix, models)
        if (not names or row.model.short_name in names) and (not engines or row.engine in engines)
    ]
    missing = [name for name in names if all(row.model.short_name != name for row in rows)]
    if missing or not rows:
        of = f" of {', '.join(missing)}" if missing else ""
        engine = f" with engine {' or '.join(engines)}" if engines else ""
        raise ConfigError(
            f"the matrix {matrix} has no row{of}{engine}, so that there is nothing to build; give --matrix FILE with "
            f"rows such as {{model: {missing[0] if missing else 'demo'}, resolution: 1024x1024, engine: onnxruntime}}"
        )
    return rows


def _check_capabilities(names: tuple[str, ...]) -> None:
    try:
        library = load_tensorrt()
    except EngineError:
        # Rows of plans are left out with the reason.
        return
    try:
        check_capabilities(library, names)
    except EngineError as error:
        raise ConfigError(f"--compute-capability: {error}") from None


def _not_here(row: Row, capabilities: tuple[str, ...]) -> str | None:
    try:
        if row.engine == "onnxruntime":
            require_provider(row.provider)
            require_precision(row.provider, row.precision)
            return None
        library = load_tensorrt()
        if library.rtx and capabilities:
            return None
        import torch

        if not torch.cuda.is_available():
            return "there is no GPU to compile for" + (
                "; TensorRT-RTX compiles without one: --compute-capability SM89" if library.rtx else ""
            )
    except EngineError as error:
        return str(error)
    return None


def _build(
    store: EngineStore, row: Row, weights: str | None, capability: str | None, workspace_bytes: int | None
) -> Path:
    checkpoint = locate_weights(row.model, weights, given_by=option_of(row.model, named=True))
    size = (row.width, row.height)
    if row.engine == "onnxruntime":
        return stored_onnx(store, row.model, checkpoint, size, row.precision, form_of(row.provider))
    from birefnet_batch.engines.stored_plan import stored_plan

    return stored_plan(
        store,
        load_tensorrt(),
        row.model,
        checkpoint,
        size,
        row.precision,
        row.batch_size,
        workspace_bytes,
        capability,
    )
