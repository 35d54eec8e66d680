"""What is wrong with the settings of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from birefnet_batch.bucket_prefix import bucket_prefix
from birefnet_batch.errors import ConfigError, ProblemsError
from birefnet_batch.settings.engine import EngineName, EngineSettings, Provider
from birefnet_batch.settings.executor import ExecutorName, ExecutorSettings
from birefnet_batch.uri_schemes import BUCKET_SCHEMES, SCHEMES, scheme_of
from birefnet_batch.uris import check_path
from birefnet_batch.url_redaction import redact

if TYPE_CHECKING:
    from birefnet_batch.settings.run import Settings

# Seconds; of more than twice that the system's own timers want to know nothing.
_LONGEST_S = 1_000_000
# More than any machine has, and less than the libraries' integers hold.
_MOST_FRAMES, _MOST_THREADS, _MOST_BYTES = 65_536, 16_384, 2**60
LEAST_GIB, MOST_GIB = 0.001, 2**20
# Ray keeps four decimals of an amount.
_LEAST_SHARE = 0.0001
# Names that Ray keeps for itself.
_RAYS_OWN = ("object_store_memory", "bundle")
# Of the executor; `gpus_per_worker` also says how much of a GPU the engines of one process may take.
_OF_WORKERS = ("address", "workers", "cpus_per_worker", "resources", "runtime_env", "scratch", "grace_s")


def range_problems(settings: Settings) -> list[str]:
    """Numbers that no run can have."""
    low = {
        "engine.batch_size": (settings.engine.batch_size, 1),
        "engine.threads": (settings.engine.threads, 1),
        "executor.max_retries": (settings.executor.max_retries, 0),
        "executor.workers": (settings.executor.workers, 1),
        "executor.grace_s": (settings.executor.grace_s, 0),
        "storage.max_input_bytes": (settings.storage.max_input_bytes, 1),
        "storage.max_data_uri_bytes": (settings.storage.max_data_uri_bytes, 1),
        "storage.max_retries": (settings.storage.max_retries, 0),
        "media.encoder_threads": (settings.media.encoder_threads, 1),
        "media.decode_memory_bytes": (settings.media.decode_memory_bytes, 256 * 1024**2),
        "media.segment_frames": (settings.media.segment_frames, 1),
    }
    problems = [
        f"{name} is {value}; it must be at least {least}"
        for name, (value, least) in low.items()
        if value is not None and value < least
    ]
    high = {
        "engine.batch_size": (settings.engine.batch_size, _MOST_FRAMES),
        "engine.threads": (settings.engine.threads, _MOST_THREADS),
        "media.encoder_threads": (settings.media.encoder_threads, _MOST_THREADS),
        "media.decode_memory_bytes": (settings.media.decode_memory_bytes, _MOST_BYTES),
    }
    problems += [
        f"{name} is {value}; it must be at most {most}"
        for name, (value, most) in high.items()
        if value is not None and value > most
    ]
    memory = {
        "engine.memory_gib": settings.engine.memory_gib,
        "engine.workspace_gib": settings.engine.workspace_gib,
        "executor.engine_memory_gib": settings.executor.engine_memory_gib,
    }
    problems += [
        f"{name} is {value}; it must be from {LEAST_GIB} to {MOST_GIB}"
        for name, value in memory.items()
        if value is not None and not LEAST_GIB <= value <= MOST_GIB
    ]
    timeouts = {
        "storage.timeout_s": settings.storage.timeout_s,
        "media.decode_timeout_s": settings.media.decode_timeout_s,
    }
    problems += [
        f"{name} is {value}; it must be above 0, and at most {_LONGEST_S}"
        for name, value in timeouts.items()
        if not 0 < value <= _LONGEST_S
    ]
    if not settings.executor.grace_s <= _LONGEST_S:
        problems.append(f"executor.grace_s is {settings.executor.grace_s}; it must be at most {_LONGEST_S}")
    return problems + _share_problems(settings.executor)


def _share_problems(executor: ExecutorSettings) -> list[str]:
    """Shares of a machine that Ray would refuse."""
    share = executor.gpus_per_worker
    own = {"CPU": "executor.cpus_per_worker", "GPU": "executor.gpus_per_worker"}
    problems = [
        f"executor.resources.{name} is no further resource; give {own[name]}"
        for name in executor.resources
        if name in own
    ]
    problems += [
        f"executor.resources.{name} cannot be reserved, for Ray uses it itself; leave it out"
        for name in executor.resources
        if name in _RAYS_OWN
    ]
    amounts = {f"executor.resources.{name}": amount for name, amount in executor.resources.items() if name not in own}
    # Ray takes none of something for nothing.
    amounts = {name: amount for name, amount in amounts.items() if amount != 0}
    amounts[own["GPU"]] = share
    if executor.cpus_per_worker is not None:
        amounts[own["CPU"]] = executor.cpus_per_worker
    problems += [
        f"{name} is {amount}; it must be at least {_LEAST_SHARE}, and finite"
        for name, amount in amounts.items()
        if not _LEAST_SHARE <= amount < math.inf
    ]
    if 1 < share < math.inf and share != int(share):
        problems.append(f"executor.gpus_per_worker is {share}; above 1 it must be a whole number")
    return problems


def text_problems(settings: Settings) -> list[str]:
    """Paths and addresses that nothing has, and empty ones: most would mean the folder that the program runs in."""
    texts = {
        "output": settings.output,
        "manifest": settings.manifest,
        "request_file": settings.request_file,
        "weights_folder": settings.weights_folder,
        "engine.store": settings.engine.store,
        "engine.shared_store": settings.engine.shared_store,
        "executor.address": settings.executor.address,
        "executor.scratch": settings.executor.scratch,
        "storage.scratch": settings.storage.scratch,
        **{f"weights.{name}": where for name, where in settings.weights.items()},
    }
    given = {name: value for name, value in texts.items() if isinstance(value, str)}
    return [
        f"{name} is empty, as a variable is that the shell does not have; give a value, or leave {name} out"
        for name, value in given.items()
        if not value.strip()
    ] + [
        f"{name} holds a NUL character, which no path or address has; check what wrote it"
        for name, value in given.items()
        if "\0" in value
    ]


def engine_problems(engine: EngineSettings) -> list[str]:
    """Settings that would be left out in silence: of families that are neither asked for nor stand in, and more."""
    families = {engine.name, *engine.fallback}
    if EngineName.auto in families:
        families.add(EngineName.torch)
    of_one = {
        "provider": (EngineName.onnxruntime, engine.provider is not Provider.auto),
        "compile": (EngineName.torch, engine.compile),
        "workspace_gib": (EngineName.tensorrt, engine.workspace_gib is not None),
    }
    problems = []
    if engine.batch_size is not None and engine.memory_gib is not None:
        problems.append(
            f"engine.batch_size={engine.batch_size} is given, and engine.memory_gib={engine.memory_gib:g} is to find "
            "one; leave one of them out"
        )
    meant = ", which means torch," if engine.name is EngineName.auto else ""
    return problems + [
        f"engine.{name}={_shown(getattr(engine, name))} is of {family.value} alone, and engine.name={engine.name.value}"
        f"{meant} is asked for; give engine={family.value}, or leave engine.{name} out"
        for name, (family, given) in of_one.items()
        if given and family not in families
    ]


def _shown(value: object) -> str:
    """A setting's value as a command line has it."""
    return value.name if isinstance(value, Provider) else str(value).lower()


def unused_settings(settings: Settings) -> list[str]:
    """The names of what was given for Ray's workers where there are none."""
    executor = settings.executor
    if executor.name is ExecutorName.ray:
        return []
    usual = ExecutorSettings()
    return [f"executor.{name}" for name in _OF_WORKERS if getattr(executor, name) != getattr(usual, name)]


def storage_problems(settings: Settings) -> list[str]:
    """Schemes that there are not, and places that cannot be used."""
    schemes = ", ".join(SCHEMES)
    problems = [
        f"storage.allow_schemes has {scheme!r}; the schemes are {schemes}"
        for scheme in settings.storage.allow_schemes
        if scheme not in SCHEMES
    ]
    problems += [
        f"storage.options.{scheme} names no store; the stores are {', '.join(BUCKET_SCHEMES)}"
        for scheme in settings.storage.options
        if scheme not in BUCKET_SCHEMES
    ]
    try:
        _ = settings.storage.sequence_rate
    except ConfigError as error:
        problems.append(str(error))
    shared = "; what machines share is engine.shared_store"
    problems += [f"{problem}{shared}" for problem in _place_problems("engine.store", settings.engine.store, ())]
    return [
        *problems,
        *_place_problems("storage.scratch", settings.storage.scratch, ()),
        *_place_problems("executor.scratch", settings.executor.scratch, BUCKET_SCHEMES),
    ]


def _place_problems(name: str, place: str | None, buckets: tuple[str, ...]) -> list[str]:
    """What would be taken for the path of a folder, and buckets that cannot be used."""
    if not isinstance(place, str):
        return []
    scheme = scheme_of(place)
    if scheme in buckets:
        try:
            bucket_prefix(name, place)
        except ConfigError as error:
            return [str(error)]
    elif scheme in ("", "file"):
        try:
            check_path(place, ConfigError)
        except ConfigError as error:
            return [f"{name}: {error}"]
    else:
        allowed = "a folder, a file:// URI, or an s3://, gs:// or az:// location" if buckets else "a folder on a disk"
        return [f"{name} is {redact(place)!r}; give {allowed}"]
    return []


def model_problems(settings: Settings) -> list[str]:
    """Entries of `models` that are wrong, and `weights` of no model."""
    try:
        known = list(settings.catalogue.short_names)
    except ProblemsError as error:
        return list(error.problems)
    return [
        f"weights.{name} names no model; the models are {', '.join(known)}"
        for name in settings.weights
        if name not in known
    ]
