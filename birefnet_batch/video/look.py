"""What is behind the subject: the settings' wish and what the output type can carry, resolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from birefnet_batch.errors import ConfigError
from birefnet_batch.settings import Alpha, MediaSettings, parse_background
from birefnet_batch.video.formats import FORMATS, Format

_BLACK = (0, 0, 0)


@dataclass(frozen=True)
class Look:
    """What a video of one type looks like around its subject."""

    background: tuple[int, int, int] | None
    """RGB, 0 to 255; None: there is an alpha channel."""
    premultiplied: bool
    """Whether colours are multiplied by that alpha channel."""

    def to_dict(self) -> dict[str, Any]:
        """For the job's record, in the spelling of the settings."""
        if self.background is not None:
            return {"background": ",".join(map(str, self.background)), "alpha": None}
        return {"background": "none", "alpha": (Alpha.premultiplied if self.premultiplied else Alpha.straight).name}


def look_of(form: Format, media: MediaSettings) -> Look:
    """Resolve `auto`: transparent where the type carries alpha, else black.

    Straight alpha is what players expect of every type that carries it: browsers of WebM, editors of ProRes.

    Raises:
        ConfigError: no background is asked for and the type carries no alpha.
    """
    wanted = parse_background(media.background)
    if wanted == "none" and not form.alpha:
        carrying = " or ".join(other.output_type for other in FORMATS.values() if other.alpha)
        raise ConfigError(
            f"media.background=none needs an output type with an alpha channel, and {form.output_type} has none; "
            f"give media.background a colour, or video_output_type {carrying}"
        )
    if isinstance(wanted, tuple):
        return Look(wanted, premultiplied=False)
    if not form.alpha:
        return Look(_BLACK, premultiplied=False)
    return Look(None, premultiplied=media.alpha is Alpha.premultiplied)
