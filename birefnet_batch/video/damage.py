"""How much of a video may be damaged, whatever the settings say."""

from __future__ import annotations

from birefnet_batch.errors import InputError

_CORRUPT_SHARE, _CORRUPT_LEAST = 0.05, 3


def check_share(shown: str, corrupt: int, frames: int) -> None:
    """Refuse a video of whose frames more than 5 %, and more than three, are damaged.

    Raises:
        InputError: it is one.
    """
    if corrupt > max(_CORRUPT_LEAST, _CORRUPT_SHARE * frames):
        raise InputError(
            f"{shown} is damaged: {corrupt} of {frames} frames cannot be decoded, and {_CORRUPT_SHARE:.0%}, or "
            f"{_CORRUPT_LEAST}, are the most that media.corrupt_frames=conceal and drop allow; give an intact copy"
        )
