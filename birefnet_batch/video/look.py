"""What is behind the subject: the settings' wish and what the output type can carry, resolved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from birefnet_batch.backdrop import Backdrop, parse_background
from birefnet_batch.errors import ConfigError
from birefnet_batch.settings import Alpha, MediaSettings
from birefnet_batch.video.formats import FORMATS, Format
from birefnet_batch.video.hardware import check_type


@dataclass(frozen=True)
class Look:
    """What a video of one type looks like around its subject."""

    backdrop: Backdrop
    """What is behind the subject; of kind none there is an alpha channel."""
    premultiplied: bool
    """Whether colours are multiplied by that alpha channel."""

    def to_dict(self) -> dict[str, Any]:
        """For the job's record, in the spelling of the settings."""
        alpha = (Alpha.premultiplied if self.premultiplied else Alpha.straight).name
        return {"background": str(self.backdrop), "alpha": alpha if self.alpha else None}

    @property
    def alpha(self) -> bool:
        """Whether the video has an alpha channel."""
        return self.backdrop.kind == "none"


def look_of(form: Format, media: MediaSettings) -> Look:
    """Resolve `auto`: transparent where the type carries alpha, else black.

    Straight alpha is what players expect of every type that carries it: browsers of WebM, editors of ProRes.

    Raises:
        ConfigError: no background is asked for and the type carries no alpha.
    """
    wanted = parse_background(media.background)
    if wanted is None:
        wanted = Backdrop("none" if form.alpha else "colour")
    elif wanted.kind == "none" and not form.alpha:
        carrying = " or ".join(other.output_type for other in FORMATS.values() if other.alpha)
        raise ConfigError(
            f"media.background=none needs an output type with an alpha channel, and {form.output_type} has none; "
            f"give media.background a colour, or video_output_type {carrying}"
        )
    return Look(wanted, premultiplied=wanted.kind == "none" and media.alpha is Alpha.premultiplied)


def media_problems(form: Format, media: MediaSettings) -> list[str]:
    """Why no machine can write a type with these settings; empty where one may."""
    problems = []
    checks: tuple[Callable[[Format, MediaSettings], object], ...] = (look_of, check_type)
    for check in checks:
        try:
            check(form, media)
        except ConfigError as error:
            problems.append(str(error))
    return problems
