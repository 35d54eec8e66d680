"""What a user asks for and what comes back: the fields, values and defaults of fal's birefnet/v2/video.

Extensions of the API are marked: General Use (Dynamic) takes any WIDTHxHEIGHT, General Use (Light 2K) also its
native 2560x1440, and `Demo` is the model that this package ships.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from birefnet_batch.errors import RequestError

ModelName = Literal[
    "General Use (Light)",
    "General Use (Light 2K)",
    "General Use (Heavy)",
    "Matting",
    "Portrait",
    "General Use (Dynamic)",
    "Demo",
]
OutputType = Literal["X264 (.mp4)", "VP9 (.webm)", "PRORES4444 (.mov)", "GIF (.gif)"]
Quality = Literal["low", "medium", "high", "maximum"]
WriteMode = Literal["fast", "balanced", "small"]

MODEL_SHORT_NAMES: dict[str, ModelName] = {
    "light": "General Use (Light)",
    "light_2k": "General Use (Light 2K)",
    "heavy": "General Use (Heavy)",
    "matting": "Matting",
    "portrait": "Portrait",
    "dynamic": "General Use (Dynamic)",
    "demo": "Demo",
}
OUTPUT_SHORT_NAMES: dict[str, OutputType] = {
    "x264": "X264 (.mp4)",
    "vp9": "VP9 (.webm)",
    "prores4444": "PRORES4444 (.mov)",
    "gif": "GIF (.gif)",
}
API_RESOLUTIONS = ("1024x1024", "2048x2048")
DYNAMIC_ONLY_RESOLUTION = "2304x2304"
LIGHT_2K_NATIVE = "2560x1440"
FREE_MODELS = ("General Use (Dynamic)", "Demo")
FREE_SIDES = range(256, 2304 + 1, 32)
# A plain dict, so that reading a request does not load pydantic: only the schemas need it.
_DOCUMENTED = {"use_attribute_docstrings": True}


@dataclass(frozen=True)
class Request:
    """One video and what is to be done with it; canonical once constructed.

    Every field takes the API's spelling; the short names of a command line are replaced by it. Construction
    validates, so that a Request that exists is right.

    Raises:
        RequestError: every problem of the given values at once.
    """

    __pydantic_config__ = _DOCUMENTED

    video_url: str
    """The video: a path, or a file:// or http(s):// URL."""
    model: ModelName = "General Use (Light)"
    """The model; `Demo` is an extension of the API."""
    operating_resolution: str = ""
    """WIDTHxHEIGHT that frames are stretched to for the network. Left out: 1024x1024, or 512x512 for Demo."""
    output_mask: bool = False
    """Also write the mask video."""
    refine_foreground: bool = True
    """Estimate the foreground's own colours with the mask."""
    sync_mode: bool = False
    """Return media as data URIs and keep no media in the output."""
    video_output_type: OutputType = "X264 (.mp4)"
    """The container and codec of the result."""
    video_quality: Quality = "high"
    """The encoder's rate control."""
    video_write_mode: WriteMode = "balanced"
    """The encoder's speed."""

    def __post_init__(self) -> None:
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        for name, value in _canonical(given).items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_dict(cls, arguments: Mapping[str, Any]) -> Request:
        """Validate the arguments of an API call; a field that is absent or null takes its default.

        Raises:
            RequestError: every problem at once: unknown fields, wrong values, what does not go together.
        """
        if not isinstance(arguments, Mapping):
            raise RequestError(
                "The request has problems",
                [f"{_show(arguments)} is no mapping of fields; the fields are {', '.join(_PARSERS)}"],
            )
        request = cls.__new__(cls)
        # __init__ would validate a second time, which counts over a manifest of 100,000 entries.
        request.__dict__.update(_canonical(arguments))
        return request

    def to_dict(self) -> dict[str, Any]:
        """The arguments of the API call, canonical, every field given."""
        return asdict(self)

    @property
    def size(self) -> tuple[int, int]:
        """The operating resolution as (width, height) in pixels."""
        width, height = self.operating_resolution.split("x")
        return int(width), int(height)


@dataclass(frozen=True)
class VideoFile:
    """One media file of a result, as the API describes it."""

    __pydantic_config__ = _DOCUMENTED

    content_type: str
    """MIME type."""
    duration: float
    """Seconds."""
    file_name: str
    fps: float
    """Frames a second; the average where the rate varies."""
    height: int
    """Pixels."""
    num_frames: int
    url: str
    """Absolute URI: file://... or, with sync_mode, a data URI."""
    width: int
    """Pixels."""
    file_size: int
    """Bytes."""


@dataclass(frozen=True)
class Result:
    """What the API returns for one video."""

    __pydantic_config__ = _DOCUMENTED

    video: VideoFile
    """The cut-out."""
    mask_video: VideoFile | None = None
    """The mask; absent unless output_mask was given."""

    def to_dict(self) -> dict[str, Any]:
        """The API's output: `mask_video` is absent, not null, when it was not asked for."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """Read what `to_dict` gave."""
        mask = data.get("mask_video")
        return cls(VideoFile(**data["video"]), VideoFile(**mask) if mask else None)


def _canonical(arguments: Mapping[str, Any]) -> dict[str, Any]:
    problems: list[str] = []
    canonical: dict[str, Any] = {}
    for name in arguments:
        if name not in _PARSERS:
            problems.append(f"{name!r} is no field of a request; the fields are {', '.join(_PARSERS)}")
    for name, parse in _PARSERS.items():
        value = arguments.get(name)
        if value is None and name in _DEFAULTS:
            value = _DEFAULTS[name]
        try:
            canonical[name] = parse(value)
        except _Refused as refused:
            problems.append(f"{name}: {refused}")
    if "model" in canonical and "operating_resolution" in canonical:
        try:
            canonical["operating_resolution"] = _resolution_for(canonical["model"], canonical["operating_resolution"])
        except _Refused as refused:
            problems.append(f"operating_resolution: {refused}")
    elif canonical.get("operating_resolution"):
        problems += _never_allowed(canonical["operating_resolution"])
    if problems:
        raise RequestError(f"The request{_named(arguments)} has problems", problems)
    return canonical


def _named(arguments: Mapping[str, Any]) -> str:
    url = arguments.get("video_url")
    if not isinstance(url, str) or not url.strip():
        return ""
    from birefnet_batch.uris import redact

    return f" for {redact(url)}"


class _Refused(Exception):
    pass


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _choice(allowed: tuple[str, ...], short_names: Mapping[str, str]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if isinstance(value, str):
            if value in allowed:
                return value
            found = short_names.get(value.strip().lower())
            if found is not None:
                return found
        given = ", ".join(repr(name) for name in allowed)
        short = f" (short: {', '.join(short_names)})" if short_names else ""
        raise _Refused(f"{_show(value)} is not allowed; give one of {given}{short}")

    return parse


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise _Refused(f"{_show(value)} is not allowed; give true or false")


def _video_url(value: Any) -> str:
    if value is None:
        raise _Refused("it is required; give a path or a URL")
    if not isinstance(value, str) or not value.strip():
        raise _Refused(f"{_show(value)} is not allowed; give a path or a URL")
    if "\0" in value:
        raise _Refused(f"{_show(value)} holds a NUL character, which no path or URL has")
    return value.strip()


def _resolution(value: Any) -> str:
    """WIDTHxHEIGHT, or one number for a square, or nothing; which ones a model takes is checked with the model."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        match = re.fullmatch(r"(?:(\d{1,5})(?:\s*[xX×]\s*(\d{1,5}))?)?", value.strip())
        if match:
            width, height = match.groups()
            return "" if width is None else f"{int(width)}x{int(height or width)}"
    raise _Refused(f"{_show(value)} is not allowed; give WIDTHxHEIGHT, for example 1024x1024")


def _resolution_for(model: str, resolution: str) -> str:
    if not resolution:
        return "512x512" if model == "Demo" else API_RESOLUTIONS[0]
    if resolution in API_RESOLUTIONS:
        return resolution
    if model in FREE_MODELS:
        width, height = (int(side) for side in resolution.split("x"))
        if width in FREE_SIDES and height in FREE_SIDES:
            return resolution
        raise _Refused(
            f"{resolution!r} is not allowed with {model}; "
            f"give WIDTHxHEIGHT with sides from {FREE_SIDES.start} to 2304 that are multiples of 32"
        )
    allowed = [*API_RESOLUTIONS, *([LIGHT_2K_NATIVE] if model == "General Use (Light 2K)" else [])]
    if resolution in allowed:
        return resolution
    hint = f"; {resolution} goes with General Use (Dynamic) only" if resolution == DYNAMIC_ONLY_RESOLUTION else ""
    raise _Refused(f"{resolution!r} is not allowed with {model}; give {' or '.join(allowed)}{hint}")


def _never_allowed(resolution: str) -> list[str]:
    """What is wrong with a resolution whatever the model, which is not known."""
    for model in get_args(ModelName):
        try:
            _resolution_for(model, resolution)
        except _Refused:
            continue
        return []
    return [f"operating_resolution: {resolution!r} is allowed with no model; give {' or '.join(API_RESOLUTIONS)}"]


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "video_url": _video_url,
    "model": _choice(get_args(ModelName), MODEL_SHORT_NAMES),
    "operating_resolution": _resolution,
    "output_mask": _boolean,
    "refine_foreground": _boolean,
    "sync_mode": _boolean,
    "video_output_type": _choice(get_args(OutputType), OUTPUT_SHORT_NAMES),
    "video_quality": _choice(get_args(Quality), {}),
    "video_write_mode": _choice(get_args(WriteMode), {}),
}
_DEFAULTS: dict[str, Any] = {item.name: item.default for item in fields(Request) if item.name != "video_url"}
REQUEST_FIELDS: tuple[str, ...] = tuple(_PARSERS)
