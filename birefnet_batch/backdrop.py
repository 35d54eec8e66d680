"""What stands behind the subject: nothing, a colour, a picture, a video, or the source itself out of focus."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from birefnet_batch.errors import ConfigError
from birefnet_batch.refusals import refusal
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.uris import user_path
from birefnet_batch.url_redaction import redact

Kind = Literal["none", "colour", "blur", "picture", "video"]
_PICTURE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"))


@dataclass(frozen=True)
class Backdrop:
    """What is behind the subject; small and picklable."""

    kind: Kind
    colour: tuple[int, int, int] = (0, 0, 0)
    """RGB, 0 to 255, of kind colour."""
    path: Path | None = None
    """The file, of kinds picture and video."""

    def __str__(self) -> str:
        """In the spelling of `media.background`."""
        if self.kind == "colour":
            return ",".join(map(str, self.colour))
        return self.kind if self.path is None else str(self.path)


def parse_background(text: str) -> Backdrop | None:
    """Read `media.background`.

    Returns:
        None for `auto`.

    Raises:
        ConfigError: it is no colour, no file and none of the words.
    """
    from birefnet_batch.manifest_folder import VIDEO_SUFFIXES

    word = text.strip().lower()
    if word == "auto":
        return None
    if word == "none":
        return Backdrop("none")
    if word == "blur":
        return Backdrop("blur")
    if scheme_of(text.strip()) not in ("", "file", "data"):
        raise ConfigError(f"media.background={redact(text.strip())} is a URL; download it and give its path")
    path = user_path(text.strip())
    kinds: dict[Kind, frozenset[str]] = {"picture": _PICTURE_SUFFIXES, "video": VIDEO_SUFFIXES}
    for kind, suffixes in kinds.items():
        if path.suffix.lower() in suffixes:
            if not os.path.isfile(path):  # noqa: PTH113  Path.is_file raises where a folder may not be entered
                reason = refusal(path)
                what = f"it cannot be read: {reason}" if reason else "there is no such file"
                raise ConfigError(f"media.background is {text!r}, and {what}")
            return Backdrop(kind, path=path)
    return Backdrop("colour", parse_colour(text))


def parse_colour(text: str) -> tuple[int, int, int]:
    """Read a colour: an HTML name, `#rgb`, `#rrggbb` or `r,g,b` with 0 to 255 each.

    Raises:
        ConfigError: it is none of these.
    """
    numbers = re.fullmatch(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*", text)
    if numbers:
        red, green, blue = (int(number) for number in numbers.groups())
        if max(red, green, blue) <= 255:
            return red, green, blue
    else:
        from PIL import ImageColor

        with suppress(ValueError):
            rgb = ImageColor.getrgb(text.strip())
            if len(rgb) == 3:
                return rgb
    raise ConfigError(
        f"media.background is {text!r}; give auto, none, blur, a colour name (black, white, green), '#rrggbb', "
        "'r,g,b' up to 255, or a picture or video file"
    )
