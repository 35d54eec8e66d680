"""The store of built engines: content-addressed, built once, written whole, checked when read.

    <root>/<key>/model.onnx | model.plan     the engine
    <root>/<key>/entry.json                  what it is, its digest, how it was made
    <root>/<key>/used                        its time of change is the last use
    <root>/<key>/kernels-*.cache             what TensorRT-RTX compiled of the plan on a GPU
    <root>/.locks, .building                 who builds what now

A plan is code that the GPU's library runs: plans are read from here and from the shared store that the settings
name, and from nowhere else.
"""

from __future__ import annotations

import errno
import json
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birefnet_batch.cache_folder import cache_folder
from birefnet_batch.digests import file_sha256
from birefnet_batch.engines.artifact import Artifact
from birefnet_batch.engines.build_lock import build_lock, holder
from birefnet_batch.engines.made_here import made_here
from birefnet_batch.engines.store_entry import ENTRY, USED, Entry, read_entry
from birefnet_batch.engines.store_names import CACHES, cached, is_of_an_engine, is_store, was_left
from birefnet_batch.errors import EngineError
from birefnet_batch.file_locks import is_held
from birefnet_batch.refusals import system_reason
from birefnet_batch.storage.durable import sync
from birefnet_batch.uris import user_path

if TYPE_CHECKING:
    from birefnet_batch.engines.shared_store import SharedStore

_log = logging.getLogger(__name__)
_OPTIONS = "engine.store=FOLDER (birefnet-batch-engines: --store FOLDER)"

Builder = Callable[[Path], dict[str, Any]]
"""Writes the engine to the path that it is given, and returns facts for entry.json."""


def default_root() -> Path:
    """`engines/store` of a checkout, or the user's cache folder for an installed package.

    Raises:
        EngineError: the package is installed, and the user has no home folder.
    """
    checkout = Path(__file__).resolve().parent.parent.parent
    if (checkout / "pyproject.toml").is_file():
        return checkout / "engines" / "store"
    try:
        cache = cache_folder()
    except RuntimeError:
        raise EngineError(
            f"There is no place for the engine store: this user has no home folder; give {_OPTIONS}, or set HOME"
        ) from None
    root = cache / "engines"
    # Engines take long to build: a store that stands where they were kept before is used on.
    earlier = cache.with_name("birefnet_batch") / "engines"
    return earlier if is_store(earlier) and not is_store(root) else root


class EngineStore:
    """Engines in a folder of this machine.

    Args:
        root: the folder; None is `default_root()`.
        shared: read before anything is built and filled afterwards.
    """

    def __init__(self, root: Path | None = None, shared: SharedStore | None = None) -> None:
        self._given = root
        self._shared = shared

    @cached_property
    def root(self) -> Path:
        """The folder, looked for when it is needed: torch has a store and may do without.

        Raises:
            EngineError: none is given, and there is none by default.
        """
        return user_path(self._given or default_root()).absolute()

    def get(self, artifact: Artifact, build: Builder) -> Path:
        """The engine's file; built by this process, or waited for, where it is not there yet.

        Args:
            artifact: which one.
            build: makes it.

        Raises:
            EngineError: it cannot be built, or the store cannot be written.
        """
        try:
            found = self._intact(artifact)
            if found is not None:
                return found
            with build_lock(self._lock(artifact.key), str(artifact)):
                return self._intact(artifact) or self._make(artifact, build)
        except OSError as error:
            reason = system_reason(error)
            raise EngineError(
                f"The engine store {self.root} cannot be used: {reason}; mend it, or give {_OPTIONS}"
            ) from None

    def offer(self, path: Path) -> None:
        """Put an engine that is here into the shared store, where there is one that lacks it."""
        if self._shared is None:
            return
        entry = read_entry(path.parent)
        if entry is not None:
            self._shared.offer(entry)

    def entries(self) -> Iterator[Entry]:
        """What is there, without looking at content; folders that are no entries are left out."""
        for folder in sorted(self.root.glob("[0-9a-f]*")):
            entry = read_entry(folder)
            if entry is not None:
                yield entry

    def broken(self) -> list[Path]:
        """Folders of engines that are no entries: of their files one is missing, cannot be read or is another's."""
        if not is_store(self.root):
            return []
        # Listed first: what is built meanwhile is whole.
        folders = [folder for folder in sorted(self.root.glob("[0-9a-f]*")) if is_of_an_engine(folder)]
        whole = {entry.key for entry in self.entries()}
        return [folder for folder in folders if folder.name not in whole]

    def leftovers(self) -> list[Path]:
        """What killed builders and killed removals left."""
        if not is_store(self.root):
            return []
        building = self.root / ".building"
        found = [*self.root.glob(".removed-*"), *building.glob(".removed-*")]
        for work in building.glob("[0-9a-f]*"):
            lock = self._lock(work.name.partition("-")[0])
            if not lock.exists() or not is_held(lock):
                found.append(work)
        return sorted(filter(was_left, found))

    def remove(self, folder: Path) -> None:
        """Delete an entry's folder, or another of the store; an engine in use stays on disk until it is closed.

        Raises:
            EngineError: the user may not.
        """
        try:
            _remove(folder)
        except OSError as error:
            reason = system_reason(error, "prune as the user that it belongs to")
            raise EngineError(f"{folder} cannot be removed: {reason}") from None

    def building(self) -> list[str]:
        """A line for each engine that is being built now."""
        locks = sorted((self.root / ".locks").glob("*.lock"))
        return [f"{lock.stem}: {who}" for lock in locks if is_held(lock) and (who := holder(lock)) is not None]

    def caches(self) -> dict[str, list[Path]]:
        """What there is of `CACHES`, by name: files and folders."""
        found = {name: cached(self.root, name) for name in CACHES} if is_store(self.root) else {}
        return {name: paths for name, paths in found.items() if paths}

    def _lock(self, key: str) -> Path:
        return self.root / ".locks" / f"{key}.lock"

    def _intact(self, artifact: Artifact) -> Path | None:
        folder = self.root / artifact.key
        entry = read_entry(folder)
        if entry is None or not entry.intact():
            return None
        with suppress(OSError):
            (folder / USED).touch()
        return entry.path

    def _make(self, artifact: Artifact, build: Builder) -> Path:
        folder = self.root / artifact.key
        for left in (self.root / ".building").glob(f"{artifact.key}-*"):
            # The lock is ours, so that whoever left it is dead.
            _remove(left)
        if folder.exists():
            _log.warning("the %s in %s is damaged: it is made again", artifact, folder)
            _remove(folder)
        work = self.root / ".building" / f"{artifact.key}-{secrets.token_hex(4)}"
        work.mkdir(parents=True)
        try:
            if self._shared is None or not self._shared.fetch(artifact, work):
                self._build(artifact, build, work)
                if self._shared is not None:
                    self._shared.put(artifact, work)
            (work / USED).touch()
            for path in (*work.iterdir(), work):
                sync(path)
            work.rename(folder)
            sync(self.root)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return folder / artifact.file_name

    def _build(self, artifact: Artifact, build: Builder, work: Path) -> None:
        path = work / artifact.file_name
        _log.info("building the %s", artifact)
        started = time.perf_counter()
        facts = build(path)
        made_here["engine"] += 1
        seconds = time.perf_counter() - started
        _log.info("built the %s in %.1f s", artifact, seconds)
        entry = {
            "file": path.name,
            "sha256": file_sha256(path),
            "artifact": asdict(artifact),
            "created": time.time(),
            "build_seconds": round(seconds, 2),
            "facts": facts,
        }
        (work / ENTRY).write_text(json.dumps(entry, indent=2) + "\n", "utf-8")


def _remove(folder: Path) -> None:
    """Out of sight at once, then gone: nobody sees half an entry."""
    aside = folder.with_name(f".removed-{folder.name}-{secrets.token_hex(4)}")
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # An overlay renames no folder of a layer below, as an image's is. Without its record it is no engine.
        (folder / ENTRY).unlink(missing_ok=True)
        shutil.rmtree(folder)
        return
    shutil.rmtree(aside, ignore_errors=True)
