"""The open engines of one worker, least recently used closed first."""

from __future__ import annotations

import copy
import gc
import logging
import platform
from collections import OrderedDict
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from birefnet_batch.engines.memory import TOO_LITTLE, is_out_of_memory
from birefnet_batch.errors import BirefnetBatchError, EngineError, EngineMemoryError
from birefnet_batch.executors.engine_budget import engine_budget, memory_in_use
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import WeightsFile, locate_weights
from birefnet_batch.process_tuning import give_freed_memory_back
from birefnet_batch.refusals import one_line
from birefnet_batch.settings import EngineName, Settings
from birefnet_batch.uris import user_path
from birefnet_batch.versions import library_versions

if TYPE_CHECKING:
    from birefnet_batch.engines.base import Engine
    from birefnet_batch.engines.store import EngineStore

_log = logging.getLogger(__name__)
# What engines run on: another version may be quicker with another batch.
_RUN_ON = ("torch", "onnxruntime", "tensorrt")


class EngineCache:
    """Keeps engines open for the jobs that follow.

    What cannot be had (weights, an engine) is remembered too, so that ten thousand jobs of a model whose weights
    are missing wait for the network once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sizes: dict[tuple[str, int, int], int] = {}
        self._weights: dict[str, WeightsFile | BirefnetBatchError] = {}
        self._engines: OrderedDict[tuple[str, int, int], Engine] = OrderedDict()
        self._batches: dict[tuple[str, int, int], int] = {}
        self._refused: dict[tuple[str, int, int], BirefnetBatchError] = {}
        self._kept: EngineStore | None = None

    def __enter__(self) -> EngineCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._engines:
            self._engines.popitem()[1].__exit__(None, None, None)

    @property
    def held(self) -> list[tuple[str, int, int]]:
        """The open engines (model, width, height), the most recently used one last."""
        return list(self._engines)

    def asked(self, precision: str) -> dict[str, Any]:
        """What is known of an engine before it is open, for the record of a job that fails earlier."""
        asked = self._settings.engine
        return {
            "family": asked.name.value,
            "device": asked.device.value,
            "precision": precision,
            "batch_size": asked.batch_size,
            "threads": asked.threads,
        }

    def model(self, name: str) -> ModelSpec:
        """The model that a validated request names, one of the user's own among them."""
        return self._settings.catalogue.find(name)

    def weights(self, spec: ModelSpec) -> WeightsFile:
        """The model's checkpoint on this machine.

        Raises:
            WeightsError: it is not here and cannot be fetched.
        """
        if spec.short_name not in self._weights:
            try:
                found: WeightsFile | BirefnetBatchError = locate_weights(
                    spec, self._settings.weights.get(spec.short_name), self._settings.weights_folder
                )
            except BirefnetBatchError as error:
                found = copy.copy(error)
            self._weights[spec.short_name] = found
        return _or_raise(self._weights[spec.short_name])

    def engine(self, spec: ModelSpec, size: tuple[int, int]) -> Engine:
        """An open engine for a model and an operating resolution (width, height).

        Raises:
            WeightsError: the checkpoint is missing or does not fit the network.
            EngineError: the engine that the settings ask for cannot be had here.
        """
        from birefnet_batch.engines.required import device_for

        key = (spec.short_name, *size)
        if key in self._refused:
            raise copy.copy(self._refused[key])
        if key in self._engines:
            self._engines.move_to_end(key)
            return self._engines[key]
        weights = self.weights(spec)
        try:
            device = device_for(self._settings.engine)
            self._make_room(max(self._sizes.get(key, 0), weights.path.stat().st_size), device, kept=0)
            before = memory_in_use(self._settings, device)
            engine = self._first(spec, weights, size)
        except BirefnetBatchError as error:
            # Without its trace, whose frames hold what the failed engine had in memory.
            self._refused[key] = copy.copy(error)
            raise
        # What goes into memory that the process had freed, and kept, does not show.
        self._sizes[key] = max(engine.weight_bytes, memory_in_use(self._settings, device) - before)
        self._engines[key] = engine
        self._make_room(0, device, kept=1)
        return engine

    def _make_room(self, needed: int, device: str, kept: int) -> None:
        """Close the least recently used engines, the last `kept` never, until `needed` more bytes fit the budget."""
        budget = engine_budget(self._settings, device)
        while len(self._engines) > kept and sum(self._sizes[key] for key in self._engines) + needed > budget:
            self._engines.popitem(last=False)[1].__exit__(None, None, None)

    def halve(self, spec: ModelSpec, size: tuple[int, int]) -> Engine | None:
        """The model's engine with half its batch, from now on; None, with the engine closed, where that is one already.

        Raises:
            BirefnetBatchError: it cannot be opened again.
        """
        key = (spec.short_name, *size)
        engine = self._engines.pop(key)
        batch = engine.spec.batch_size
        engine.__exit__(None, None, None)
        if batch == 1:
            return None
        self._batches[key] = batch // 2
        return self.engine(spec, size)

    def _first(self, spec: ModelSpec, weights: WeightsFile, size: tuple[int, int]) -> Engine:
        """The engine that was asked for, or the first of `engine.fallback` that can be had."""
        from birefnet_batch.engines import choose

        asked = self._settings.engine
        family, why = choose(asked.name.value, asked.device.value)
        families = list(dict.fromkeys((family, *(other.value for other in asked.fallback))))
        refusals: list[str] = []
        for family in families:
            try:
                engine = self._open(family, spec, weights, size)
            except EngineError as error:
                if family == families[-1]:
                    if refusals:
                        raise type(error)(f"{error} (before that, {'; '.join(refusals)})") from None
                    raise
                _log.warning("%s; engine.fallback goes on with the next", error)
                refusals.append(f"{family}: {error}")
                continue
            if refusals:
                engine.chosen |= {"asked": asked.name.value, "instead_of": refusals}
            elif asked.name is EngineName.auto:
                engine.chosen |= {"why": why}
                _log.info("engine of %s: %s (%s)", spec.short_name, family, why)
            return engine
        raise AssertionError("the last one is opened or raises")

    def _open(self, family: str, spec: ModelSpec, weights: WeightsFile, size: tuple[int, int]) -> Engine:
        from birefnet_batch.engines import open_engine

        asked = self._settings.engine
        store = self._store()
        arguments: dict[str, Any] = {
            "name": family,
            "model": spec,
            "weights": weights,
            "width": size[0],
            "height": size[1],
            "device": asked.device_wish,
            "precision": asked.precision.value,
            "threads": asked.threads,
            "provider": asked.provider.value,
            "store": store,
            "workspace_gib": asked.workspace_gib,
            "compile": asked.compile,
            "cuda_graph": asked.cuda_graph,
        }
        batch = self._batches.get((spec.short_name, *size), asked.batch_size)
        chosen: dict[str, Any] = {}
        if batch is None and asked.memory_gib is not None:
            batch = _probed(store, arguments, asked.memory_gib)
            chosen = {"batch_size_why": f"measured: the quickest of those that fit into {asked.memory_gib:g} GiB"}
        refused: list[int] = []
        while True:
            engine = open_engine(**arguments, batch_size=batch)
            try:
                engine.__enter__()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = one_line(error, 300)
            else:
                if refused:
                    # Not of one that never opens: the engine that takes its place has its own.
                    self._batches[spec.short_name, *size] = engine.spec.batch_size
                engine.refused_batches = tuple(refused)
                engine.chosen = chosen
                return engine
            # Out here what the failed attempt held is free again, unless its frames hold each other.
            gc.collect()
            give_freed_memory_back()
            if engine.spec.batch_size == 1:
                raise EngineMemoryError(f"The engine of {spec.short_name} does not open: {reason}; {TOO_LITTLE}")
            refused.append(engine.spec.batch_size)
            batch = engine.spec.batch_size // 2
            _log.warning(
                "%s does not open with batches of %d, %d are tried: %s", spec.short_name, refused[-1], batch, reason
            )

    def _store(self) -> EngineStore:
        from birefnet_batch.engines.shared_store import SharedStore
        from birefnet_batch.engines.store import EngineStore

        if self._kept is None:
            asked = self._settings.engine
            self._kept = EngineStore(
                None if asked.store is None else user_path(asked.store),
                None if asked.shared_store is None else SharedStore(asked.shared_store, self._settings.storage),
            )
        return self._kept


def _probed(store: EngineStore, arguments: dict[str, Any], memory_gib: float) -> int:
    import torch

    from birefnet_batch.engines.batch_probe import free_bytes, measure_in_child, probed_batch

    identity = {
        **{name: value for name, value in arguments.items() if name not in ("model", "weights", "store")},
        "model": arguments["model"].short_name,
        "network": arguments["model"].network,
        "libraries": {name: version for name, version in library_versions().items() if name.startswith(_RUN_ON)},
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor(),
    }
    budget = int(memory_gib * 2**30)
    measure = partial(measure_in_child, arguments)
    return probed_batch(store.root, identity, budget, measure, free_bytes(arguments))


def _or_raise(found: WeightsFile | BirefnetBatchError) -> WeightsFile:
    if isinstance(found, BirefnetBatchError):
        # An error's trace grows with each time that it is raised, and holds the frames.
        raise copy.copy(found)
    return found
