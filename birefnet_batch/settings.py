"""The structured configuration of a run: typed, frozen, validated before anything starts.

Hydra composes `conf/` over these classes; `Settings.from_config` turns the result into plain frozen dataclasses.
Nothing below the application sees a DictConfig. The `help` of each field is its line in `--help`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from birefnet_batch.backdrop import parse_background
from birefnet_batch.errors import ConfigError, ProblemsError
from birefnet_batch.models.registry import SHIPPED, Catalogue, ModelEntry
from birefnet_batch.uris import BUCKET_SCHEMES, SCHEMES

if TYPE_CHECKING:
    from omegaconf import DictConfig


class OnInvalid(Enum):
    """What to do with a manifest that has bad entries."""

    fail = "fail"
    skip = "skip"


class Resume(Enum):
    """What to do with jobs whose completion marker is there."""

    auto = "auto"
    force = "force"
    never = "never"


class EngineName(Enum):
    """The engine families of this version."""

    auto = "auto"
    torch = "torch"
    onnxruntime = "onnxruntime"
    tensorrt = "tensorrt"


class Provider(Enum):
    """What ONNX Runtime runs on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    tensorrt = "tensorrt"
    openvino = "openvino"


class Device(Enum):
    """Where an engine runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Precision(Enum):
    """The number format of an engine's weights and activations."""

    auto = "auto"
    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class Alpha(Enum):
    """How colours and an alpha channel go together."""

    auto = "auto"
    straight = "straight"
    premultiplied = "premultiplied"


class CorruptFrames(Enum):
    """What is done with frames that cannot be decoded, or only in part."""

    conceal = "conceal"
    drop = "drop"
    fail = "fail"


class ExecutorName(Enum):
    """Who runs the segments."""

    local = "local"
    ray = "ray"


def setting(default: Any, text: str, entry: type | None = None, keys: str = "SCHEME.OPTION") -> Any:
    """A dataclass field with its default and its line in `--help`.

    `entry` is what a mapping's values are, `keys` what those of an empty one are called there.
    """
    metadata = {"help": text, "entry": entry, "keys": keys}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    if is_dataclass(default):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class RequestSettings:
    """The request fields that every video of the run starts from; a manifest's own fields override them."""

    video_url: str | None = setting(None, "the video: a path, file:// or http(s):// URL")
    model: str = setting(
        "General Use (Light)",
        f"{' | '.join(SHIPPED.short_names)}, or the API's names, or one of `models`",
    )
    operating_resolution: str | None = setting(
        None, "1024x1024 | 2048x2048 | ...; null is the model's default (Demo 512x512, others 1024x1024)"
    )
    # Of any type here: a request's values are judged in one place, Request.from_dict.
    output_mask: Any = setting(False, "also write the mask video")
    refine_foreground: Any = setting(True, "estimate the foreground's own colours with the mask")
    sync_mode: Any = setting(False, "return media as data URIs in result.json and keep no media files")
    video_output_type: str = setting("X264 (.mp4)", "x264 | vp9 | prores4444 | gif")
    video_quality: str = setting("high", "low | medium | high | maximum")
    video_write_mode: str = setting("balanced", "fast | balanced | small")


@dataclass(frozen=True)
class EngineSettings:
    """How the network runs."""

    name: EngineName = setting(EngineName.auto, "auto | torch | onnxruntime | tensorrt")
    device: Device = setting(Device.auto, "auto | cpu | cuda")
    precision: Precision = setting(Precision.auto, "auto (fp32 on a CPU, fp16 on CUDA) | fp32 | fp16 | bf16")
    batch_size: int | None = setting(None, "frames a batch; null is 1 on a CPU, 4 on CUDA, or see memory_gib")
    memory_gib: float | None = setting(
        None, "GiB that the engine may take: batch_size=null is then the quickest that fits, measured once a machine"
    )
    threads: int | None = setting(None, "CPU threads of the network; null is the library's own choice (recorded)")
    provider: Provider = setting(
        Provider.auto, "of onnxruntime: auto (cuda on CUDA, cpu else) | cpu | cuda | tensorrt | openvino"
    )
    compile: bool = setting(
        False, "of torch on CUDA: through torch.compile; minutes at the first use, kept in the engine store"
    )
    workspace_gib: float | None = setting(
        None, "of tensorrt: GiB that a layer may use while it runs; null is the library's own limit"
    )
    fallback: list[EngineName] = setting(
        [], "engines to take, in order, where the one asked for cannot be had, [onnxruntime, torch]; recorded"
    )
    store: str | None = setting(
        None, "folder of built engines; null is engines/store of a checkout, else the user's cache folder"
    )
    shared_store: str | None = setting(
        None, "folder or bucket URL that machines share: read before an engine is built, filled afterwards"
    )


@dataclass(frozen=True)
class ExecutorSettings:
    """Who runs the segments, and how often a lost one is tried again.

    Ray's are marked. Nothing here decides a byte of a result.
    """

    name: ExecutorName = setting(ExecutorName.local, "local | ray")
    max_retries: int = setting(1, "further tries of what was lost with a decoding process, a worker or a node")
    address: str | None = setting(None, "Ray: a cluster to join, auto or HOST:PORT; null starts one on this machine")
    workers: int | None = setting(None, "Ray: how many workers; null is as many as the cluster has room for")
    gpus_per_worker: float = setting(1.0, "Ray: a worker's share of GPUs, 0.5 puts two on each; without GPUs unused")
    cpus_per_worker: float | None = setting(
        None, "Ray: CPUs that a worker reserves; null is engine.threads without GPUs, else 1"
    )
    resources: dict[str, float] = setting(
        {}, "Ray: an amount of a further resource that a worker reserves", keys="RESOURCE"
    )
    runtime_env: dict[str, Any] = setting(
        {}, "Ray: the workers' runtime environment (env_vars, pip, working_dir, ...)", keys="FIELD"
    )
    scratch: str | None = setting(
        None, "Ray: where parts travel between machines, a folder or URI that all see; null is the run's scratch folder"
    )
    engine_memory_gib: float | None = setting(
        None, "memory for a worker's open engines; null is half of its share of the GPU's or the machine's"
    )
    grace_s: float = setting(30.0, "Ray: seconds that running segments have to finish when the run is stopped")


@dataclass(frozen=True)
class StorageSettings:
    """Where inputs come from and what they may cost."""

    scratch: str | None = setting(
        None, "folder for work in progress; null is <output>/.scratch, or the system's temporary folder for buckets"
    )
    max_input_bytes: int = setting(64 * 1024**3, "largest remote input that is fetched, in bytes")
    timeout_s: float = setting(60.0, "seconds a remote source may stay silent")
    max_retries: int = setting(5, "tries in a row that may fail (dropped connections, 429, 5xx) before an input does")
    allow_schemes: list[str] = setting(
        ["file", "http", "https", "s3", "gs", "az", "data"], "where inputs may come from; leave out file to close disks"
    )
    allow_private_hosts: bool = setting(
        True, "whether http(s) inputs may come from private, loopback and link-local addresses"
    )
    max_data_uri_bytes: int = setting(
        64 * 1024**2, "with sync_mode: the longest data URI of a media file, in bytes (4 for each 3 of the file)"
    )
    options: dict[str, dict[str, Any]] = setting(
        {},
        "by scheme (s3 | gs | az): options of s3fs, gcsfs or adlfs, such as storage.options.s3.endpoint_url; "
        "credentials are better left to the cloud's own conventions",
    )


@dataclass(frozen=True)
class MediaSettings:
    """What the written media look like."""

    background: str = setting(
        "auto",
        "behind the subject: auto (none, black for x264) | none | blur (of the source) | a colour's name, '#rrggbb' "
        "or 'r,g,b' | a picture or video file",
    )
    alpha: Alpha = setting(
        Alpha.auto, "colours beside alpha: auto (what the type's players expect) | straight | premultiplied"
    )
    audio: bool = setting(True, "carry the source's audio over")
    # Of any type here: YAML reads a bare `off` as false.
    hardware: Any = setting(
        "off", "hardware encoder (NVENC, for x264): off | auto (where it works; recorded) | require"
    )
    encoder_threads: int = setting(4, "threads of the video encoder; part of what decides the bytes")
    segment_frames: int | None = setting(None, "frames a segment, up to its next keyframe; null is one segment a video")
    decode_timeout_s: float = setting(60.0, "seconds the decoding process may take for one frame")
    decode_memory_bytes: int = setting(4 * 1024**3, "what the decoding process may allocate, in bytes")
    corrupt_frames: CorruptFrames = setting(
        CorruptFrames.conceal, "conceal (keep what the decoder mended) | drop | fail; above 5 % every video fails"
    )
    # Of any type here: YAML reads bare `on` and `off` as booleans.
    deinterlace: Any = setting("auto", "auto (frames marked as interlaced) | on (every frame) | off")

    @property
    def hardware_wish(self) -> Literal["off", "auto", "require"]:
        """`hardware`, read.

        Raises:
            ConfigError: it is none of the words.
        """
        words: dict[str, Literal["off", "auto", "require"]] = {"off": "off", "auto": "auto", "require": "require"}
        word = "off" if self.hardware is False else str(self.hardware).strip().lower()
        if word not in words:
            raise ConfigError(f"media.hardware is {self.hardware!r}; give off, auto or require")
        return words[word]

    @property
    def deinterlace_wish(self) -> str:
        """`deinterlace`, read.

        Raises:
            ConfigError: it is none of the words.
        """
        word = str({True: "on", False: "off"}.get(self.deinterlace, self.deinterlace)).strip().lower()
        if word not in ("auto", "on", "off"):
            raise ConfigError(f"media.deinterlace is {self.deinterlace!r}; give auto, on or off")
        return word


@dataclass(frozen=True)
class Settings:
    """All settings of a run."""

    output: str | None = setting(None, "folder for results (required)")
    manifest: str | None = setting(None, "videos: a YAML, JSON, JSONL or CSV file, a folder or a glob")
    request_file: str | None = setting(None, "a JSON or YAML file with the arguments of one API call")
    on_invalid: OnInvalid = setting(OnInvalid.fail, "bad manifest entries: fail | skip")
    resume: Resume = setting(
        Resume.auto, "auto skips complete jobs | force does them again | never refuses an output that has any"
    )
    request: RequestSettings = setting(RequestSettings(), "the request fields that every video starts from")
    engine: EngineSettings = setting(EngineSettings(), "how the network runs")
    executor: ExecutorSettings = setting(ExecutorSettings(), "who runs the segments")
    storage: StorageSettings = setting(StorageSettings(), "where inputs come from and what they may cost")
    media: MediaSettings = setting(MediaSettings(), "what the written media look like")
    weights: dict[str, str | None] = setting(
        dict.fromkeys(SHIPPED.short_names),
        "a safetensors or .pth file, a folder or a hub repository (owner/name@revision); null is the published one",
    )
    weights_folder: str | None = setting(
        None, "folder that `birefnet-batch-weights fetch` filled; the hub is not asked then"
    )
    # Of any type here: entries are judged in one place, the registry.
    models: dict[str, Any] = setting({}, "models of your own, by short name", entry=ModelEntry)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The models that requests may name.

        Raises:
            ProblemsError: entries of `models` are wrong.
        """
        return SHIPPED.with_entries(self.models)

    @classmethod
    def from_config(cls, config: DictConfig) -> Settings:
        """Resolve and validate a composed configuration.

        Raises:
            ConfigError: values that no run can have, all of them at once.
        """
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        from birefnet_batch.config_errors import explained

        unknown = list(_unknown_keys(config))
        if unknown:
            raise ProblemsError("The settings have problems", unknown)
        try:
            settings = OmegaConf.to_object(config)
        except OmegaConfBaseException as error:
            raise ConfigError(f"The configuration cannot be resolved: {explained(error)}") from None
        assert isinstance(settings, cls)
        settings.validate()
        return settings

    def validate(self) -> None:
        """Check ranges and what goes together.

        Raises:
            ConfigError: every problem that was found.
        """
        problems = [*_range_problems(self), *_model_problems(self), *_storage_problems(self)]
        readers: tuple[Callable[[], Any], ...] = (
            lambda: parse_background(self.media.background),
            lambda: self.media.hardware_wish,
            lambda: self.media.deinterlace_wish,
        )
        for read in readers:
            try:
                read()
            except ConfigError as error:
                problems.append(str(error))
        if problems:
            raise ProblemsError("The settings have problems", problems)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _unknown_keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys that were appended (`+key=...`) to settings that do not have them."""
    from omegaconf import DictConfig, OmegaConf

    kind = OmegaConf.get_type(config)
    known = [item.name for item in fields(kind)] if is_dataclass(kind) else None
    for key in map(str, config):
        if known is not None and key not in known:
            yield f"{prefix}{key} is no setting; {prefix[:-1] or 'the top level'} has {', '.join(known)}"
            continue
        child = config._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            yield from _unknown_keys(child, f"{prefix}{key}.")


def _range_problems(settings: Settings) -> list[str]:
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
    positive = {
        "engine.memory_gib": 1 if settings.engine.memory_gib is None else settings.engine.memory_gib,
        "engine.workspace_gib": 1 if settings.engine.workspace_gib is None else settings.engine.workspace_gib,
        "executor.engine_memory_gib": 1
        if settings.executor.engine_memory_gib is None
        else settings.executor.engine_memory_gib,
        "executor.gpus_per_worker": settings.executor.gpus_per_worker,
        "executor.cpus_per_worker": 1
        if settings.executor.cpus_per_worker is None
        else settings.executor.cpus_per_worker,
        "storage.timeout_s": settings.storage.timeout_s,
        "media.decode_timeout_s": settings.media.decode_timeout_s,
    }
    problems += [
        f"{name} is {value}; it must be above 0"
        for name, value in positive.items()
        if value is not None and not value > 0
    ]
    return problems


def _storage_problems(settings: Settings) -> list[str]:
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
    return problems


def _model_problems(settings: Settings) -> list[str]:
    try:
        known = list(settings.catalogue.short_names)
    except ProblemsError as error:
        return list(error.problems)
    return [
        f"weights.{name} names no model; the models are {', '.join(known)}"
        for name in settings.weights
        if name not in known
    ]


def schema_node() -> DictConfig:
    """The settings as the schema node that Hydra merges `conf/` into.

    OmegaConf makes nodes of frozen dataclasses read-only, which would refuse every override.
    """
    from omegaconf import DictConfig, OmegaConf

    node: DictConfig = OmegaConf.structured(Settings)

    def unfreeze(config: DictConfig) -> None:
        OmegaConf.set_readonly(config, None)
        for key in config:
            child = config._get_node(key)
            if isinstance(child, DictConfig):
                unfreeze(child)

    unfreeze(node)
    # The libraries' options are theirs: any key may be given, without Hydra's `+`.
    OmegaConf.set_struct(node.storage.options, False)
    # So are Ray's fields and the names of a cluster's resources.
    for mapping in (node.executor.runtime_env, node.executor.resources):
        OmegaConf.set_struct(mapping, False)
    return node


def describe(cls: type = Settings, prefix: str = "") -> list[tuple[str, str, str]]:
    """One (key, default, help) for each setting below `cls`, in order, groups opened."""
    rows: list[tuple[str, str, str]] = []
    for item in fields(cls):
        default = item.default_factory() if callable(item.default_factory) else item.default
        if is_dataclass(default):
            rows += describe(type(default), f"{prefix}{item.name}.")
        elif item.metadata.get("entry") is not None:
            rows += describe(item.metadata["entry"], f"{prefix}{item.name}.NAME.")
        elif isinstance(default, dict):
            place, shown = ("MODEL", "null") if default else (item.metadata["keys"], "none")
            rows.append((f"{prefix}{item.name}.{place}", shown, item.metadata["help"]))
        elif isinstance(default, list):
            rows.append((f"{prefix}{item.name}", f"[{','.join(default)}]", item.metadata["help"]))
        else:
            shown = _plain(default)
            text = "null" if shown is None else str(shown).lower() if isinstance(shown, bool) else str(shown)
            rows.append((f"{prefix}{item.name}", text, item.metadata["help"]))
    return rows
