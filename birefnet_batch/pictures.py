"""Opening a still picture whose size is bounded by us: Pillow only warns, on the console, and of more than we take."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from birefnet_batch.video.info import MOST_PIXELS

_MOST_WORD = 65535


@contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """Open a picture; its pixels are not read yet.

    Raises:
        OSError: it cannot be read, or is no picture.
        ValueError: it is damaged, or has too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise ValueError(f"it has more than {MOST_PIXELS} pixels ({error}); scale it down") from None
    with image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"it is {image.width}x{image.height}: more than {MOST_PIXELS} pixels; scale it down")
        try:
            yield image
        except (SyntaxError, struct.error) as error:
            # Of a PNG file with a broken chunk between its data, and of broken Exif data.
            raise ValueError(f"it is damaged ({error}); save it again") from None


def with_bytes(image: Image.Image) -> Image.Image:
    """Return an opened picture's levels as bytes: Pillow cuts those of grey with more bits off at 255.

    Raises:
        ValueError: it is grey of floating point, or of more than 16 bits: what white is, is not known.
    """
    if image.mode == "F":
        raise ValueError("its grey levels are floating point; save it with 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    levels = np.asarray(image)
    if levels.min() < 0 or levels.max() > _MOST_WORD:
        raise ValueError(f"its grey levels reach from {levels.min()} to {levels.max()}; save it with 8 or 16 bits")
    return Image.fromarray((levels >> 8).astype(np.uint8))
