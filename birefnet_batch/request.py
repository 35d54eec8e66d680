"""What a user asks for: the fields, values and defaults of fal's birefnet/v2/video.

Extensions of the API are marked: General Use (Dynamic) takes any WIDTHxHEIGHT, General Use (Light 2K) also its
native 2560x1440, `Demo` is the model that this package ships, and the `models` setting adds a user's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from birefnet_batch.errors import RequestError
from birefnet_batch.models.registry import SHIPPED, Catalogue
from birefnet_batch.models.spec import ModelSpec
from birefnet_batch.url_redaction import redact, redact_text, redact_value

OutputType = Literal["X264 (.mp4)", "VP9 (.webm)", "PRORES4444 (.mov)", "GIF (.gif)"]
Quality = Literal["low", "medium", "high", "maximum"]
WriteMode = Literal["fast", "balanced", "small"]

OUTPUT_SHORT_NAMES: dict[str, OutputType] = {
    "x264": "X264 (.mp4)",
    "vp9": "VP9 (.webm)",
    "prores4444": "PRORES4444 (.mov)",
    "gif": "GIF (.gif)",
}
# A plain dict, so that reading a request does not load pydantic: only the schemas need it.
_DOCUMENTED = {"use_attribute_docstrings": True}


@dataclass(frozen=True)
class Request:
    """One video and what is to be done with it; canonical once constructed.

    Every field takes the API's spelling; the short names of a command line are replaced by it. Construction
    validates, so that a Request that exists is right. It knows the shipped models; a request for a model of the
    `models` setting is made by `from_dict`.

    Raises:
        RequestError: every problem of the given values at once.
    """

    __pydantic_config__ = _DOCUMENTED

    video_url: str
    """The video: a path, a file, http(s), s3, gs or az URL, or a data URI."""
    model: str = "General Use (Light)"
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
        for name, value in _canonical(given, SHIPPED).items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_dict(cls, arguments: Mapping[str, Any], models: Catalogue = SHIPPED) -> Request:
        """Validate the arguments of an API call; a field that is absent or null takes its default.

        Args:
            arguments: the fields.
            models: those that the request may name; `Settings.catalogue` has a user's own too.

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
        request.__dict__.update(_canonical(arguments, models))
        return request

    def to_dict(self) -> dict[str, Any]:
        """The arguments of the API call, canonical, every field given."""
        # All fields are flat, and asdict copies deeply, which counts over a manifest of 100,000 entries.
        return dict(vars(self))

    def of(self, video_url: Any) -> Request:
        """The same request of another video; nothing else is validated again.

        Raises:
            RequestError: it is no path or URL.
        """
        try:
            url = _video_url(video_url)
        except _Refused as refused:
            raise RequestError("The request has problems", [f"video_url: {refused}"]) from None
        request = type(self).__new__(type(self))
        request.__dict__.update(vars(self), video_url=url)
        return request

    @property
    def size(self) -> tuple[int, int]:
        """The operating resolution as (width, height) in pixels."""
        width, height = self.operating_resolution.split("x")
        return int(width), int(height)


def wrong_fields(arguments: Mapping[str, Any], models: Catalogue = SHIPPED) -> dict[str, str]:
    """What is wrong with each of the given fields by itself, whatever the others are; null is left to the default."""
    wrong: dict[str, str] = {}
    for name, value in arguments.items():
        if name not in _PARSERS:
            wrong[name] = _no_field(name)
        elif value is not None:
            try:
                _parse(name, value, models)
            except _Refused as refused:
                wrong[name] = f"{name}: {refused}"
    return wrong


def _parse(name: str, value: Any, models: Catalogue) -> Any:
    return _one_of(value, models.names, models.short_names) if name == "model" else _PARSERS[name](value)


def _canonical(arguments: Mapping[str, Any], models: Catalogue) -> dict[str, Any]:
    problems: list[str] = []
    canonical: dict[str, Any] = {}
    for name in arguments:
        if name not in _PARSERS:
            problems.append(_no_field(name))
    for name in _PARSERS:
        value = arguments.get(name)
        if value is None and name in _DEFAULTS:
            value = _DEFAULTS[name]
        try:
            canonical[name] = _parse(name, value, models)
        except _Refused as refused:
            problems.append(f"{name}: {refused}")
    resolution = canonical.get("operating_resolution")
    if resolution is not None and "model" in canonical:
        spec = models.find(canonical["model"])
        canonical["operating_resolution"] = resolution = resolution or spec.default_resolution
        if not spec.allows(resolution):
            problems.append(f"operating_resolution: {_not_allowed(resolution, spec, models)}")
    elif resolution and not any(spec.allows(resolution) for spec in models):
        default = models.models[0]
        problems.append(f"operating_resolution: {resolution!r} is allowed with no model; give {default.allowed}")
    if problems:
        raise RequestError(f"The request{named(arguments)} has problems", problems)
    return canonical


def _no_field(name: str) -> str:
    return f"{_show(name)} is no field of a request; the fields are {', '.join(_PARSERS)}"


def named(request: object) -> str:
    """` for URL`, without its secrets, of a request or of the arguments of a call; nothing where they have none."""
    url = request.get("video_url") if isinstance(request, Mapping) else getattr(request, "video_url", None)
    if not isinstance(url, str) or not url.strip():
        return ""
    return f" for {redact(url)}"


class _Refused(Exception):
    pass


def _show(value: Any) -> str:
    # Before it is cut, for half a password would not be known as one.
    text = repr(redact_value(value)) if isinstance(value, str) else redact_text(repr(value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _one_of(value: Any, allowed: tuple[str, ...], short_names: Mapping[str, str]) -> str:
    several = ""
    if isinstance(value, str):
        if found := _found(value, allowed, short_names):
            return found
        if "," in value and all(_found(part.strip(), allowed, short_names) for part in value.split(",")):
            several = "; several values, for a run with each, need -m on a command line"
    listed = ", ".join(map(repr, allowed))
    short = f" (short: {', '.join(short_names)})" if short_names else ""
    raise _Refused(f"{_show(value)} is not allowed; give one of {listed}{short}{several}")


def _found(value: str, allowed: tuple[str, ...], short_names: Mapping[str, str]) -> str | None:
    return value if value in allowed else short_names.get(value.strip().lower())


def _choice(allowed: tuple[str, ...], short_names: Mapping[str, str]) -> Callable[[Any], str]:
    return lambda value: _one_of(value, allowed, short_names)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise _Refused(f"{_show(value)} is not allowed; give true or false")


def _video_url(value: Any) -> str:
    if value is None:
        raise _Refused("it is required; give a path or a URL")
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
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


def _not_allowed(resolution: str, spec: ModelSpec, models: Catalogue) -> str:
    others = [other.name for other in models if other.allows(resolution)]
    hint = f"; {resolution} goes with {' and '.join(others)} only" if others and spec.resolutions is not None else ""
    return f"{resolution!r} is not allowed with {spec.name}; give {spec.allowed}{hint}"


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "video_url": _video_url,
    "model": str,  # which there are is the catalogue's matter
    "operating_resolution": _resolution,
    "output_mask": _boolean,
    "refine_foreground": _boolean,
    "sync_mode": _boolean,
    "video_output_type": _choice(get_args(OutputType), OUTPUT_SHORT_NAMES),
    "video_quality": _choice(get_args(Quality), {}),
    "video_write_mode": _choice(get_args(WriteMode), {}),
}
_DEFAULTS: dict[str, Any] = {item.name: item.default for item in fields(Request) if item.name != "video_url"}
