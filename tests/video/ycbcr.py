"""Colours as luma and chroma by the textbook, and files that hold them without loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float64]
KR_KB = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114), "bt2020nc": (0.2627, 0.0593)}

TAGS = {"colorspace": "bt709", "color_range": "tv", "color_primaries": "bt709", "color_trc": "bt709"}
HDR_TAGS = {**TAGS, "colorspace": "bt2020nc", "color_primaries": "bt2020"}


def coefficients(matrix: str, full: bool) -> tuple[float, float, int, int, int]:
    """The weights of red and blue; luma's scale and offset, and chroma's scale."""
    return (*KR_KB[matrix], *((255, 0, 255) if full else (219, 16, 224)))


def to_ycbcr(image: Planes, matrix: str, full: bool, bits: int = 8) -> list[Planes]:
    """Colours (..., 3) in [0, 255] as three planes (...): whole numbers of so many bits.

    By ITU-T H.273's formulas (equations 38 to 40, and 20 to 31 for the ranges).
    """
    kr, kb, scale, offset, spread = coefficients(matrix, full)
    red, green, blue = np.moveaxis(image / 255, -1, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = ((blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr))
    finer = (2**bits - 1) / 255 if full else 2 ** (bits - 8)
    planes = [(luma * scale + offset) * finer, *(part * spread * finer + 2 ** (bits - 1) for part in chroma)]
    return [np.clip(np.rint(plane), 0, 2**bits - 1) for plane in planes]


def write_planes(
    path: Path,
    planes: list[Planes],
    tags: dict[str, str],
    bits: int = 8,
    subsampling: str = "444",
    codec: str = "ffv1",
) -> Path:
    """One frame of three planes (H, W), with the encoder's options and its tags; of coarser chroma every nth value."""
    height, width = planes[0].shape
    pix_fmt = f"yuv{subsampling}p" if bits == 8 else f"yuv{subsampling}p{bits}le"
    across, down = {"444": (1, 1), "422": (2, 1), "420": (2, 2)}[subsampling]
    planes = [planes[0], *(plane[::down, ::across] for plane in planes[1:])]
    level = np.dtype(np.uint8 if bits == 8 else "<u2")
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, values in zip(frame.planes, planes, strict=True):
        view: Any = np.frombuffer(memoryview(plane), level).reshape(-1, plane.line_size // level.itemsize)
        view[: values.shape[0], : values.shape[1]] = values
    with av.open(str(path), "w", format="matroska" if codec == "ffv1" else "mov") as container:
        stream: Any = container.add_stream(codec, rate=25, options=tags)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def hdr_file(path: Path, transfer: str, bits: int) -> Path:
    """A clip of a grey of 78 cd/m2 or, in HLG, of half the signal."""
    level = 0.4833 if transfer == "smpte2084" else 0.5
    grey = [np.full((48, 64), round((219 * level + 16) * 2 ** (bits - 8)), np.float64)]
    grey += [np.full((48, 64), 2.0 ** (bits - 1))] * 2
    return write_planes(path, grey, {**HDR_TAGS, "color_trc": transfer}, bits=bits)
