"""Opening a still picture whose size is bounded by us: Pillow only warns, on the console, and of more than we take."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from birefnet_batch.video.info import MOST_PIXELS


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
        yield image
