"""Blur fusion on a CPU, compiled: one sweep over the rows per pass, with running sums, and nothing kept but rows.

The same formula as in `foreground`, whose torch form moves every intermediate picture through memory.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from birefnet_batch.matting.compiled import compiled

Planes = NDArray[np.float32]
Sums = NDArray[np.float64]
_EPSILON = np.float32(1e-5)
_STRIP_ROWS = 360
_SUMS = 7  # foreground times alpha, background times its rest, alpha


def fuse(
    image: Planes,
    foreground: Planes,
    background: Planes,
    alpha: Planes,
    side: int,
    threads: int,
    result: Planes | None = None,
) -> list[Planes]:
    """Do one pass for one picture.

    Args:
        image: (3, H, W) in [0, 1], contiguous, like all others.
        foreground: (3, H, W), what is known of it.
        background: (3, H, W), what is known of it.
        alpha: (H, W) in [0, 1].
        side: of the box, pixels.
        threads: how many strips of rows are worked on at once; the result does not depend on it.
        result: where the new foreground goes, (3, H, W), when the background is not wanted.

    Returns:
        The new foreground and the blurred background, each (3, H, W).
    """
    height = alpha.shape[0]
    if result is None:
        made = [np.empty_like(image), np.empty_like(image)]
    else:
        # The last background is wanted by nobody: its rows are written over one another.
        made = [result, np.empty((3, 1, image.shape[2]), np.float32)]
    # The same strips whoever works on them: sums that begin elsewhere round otherwise.
    strips = max(1, round(height / _STRIP_ROWS))
    edges = [height * number // strips for number in range(strips + 1)]

    def work(number: int) -> None:
        _sweep(image, foreground, background, alpha, side, edges[number], edges[number + 1], *made)

    if min(threads, strips) == 1:
        for number in range(strips):
            work(number)
    else:
        with ThreadPoolExecutor(min(threads, strips)) as pool:
            list(pool.map(work, range(strips)))
    return made


@compiled
def _sweep(
    image: Planes,
    foreground: Planes,
    background: Planes,
    alpha: Planes,
    side: int,
    first: int,
    last: int,
    new_foreground: Planes,
    new_background: Planes,
) -> None:
    height, width = alpha.shape
    before, after = side // 2, side - 1 - side // 2
    kept = new_background.shape[1]
    # In double precision, or what rounding leaves of a sum that should be nothing would become a colour.
    columns = np.zeros((_SUMS, width), np.float64)
    boxes = np.empty((_SUMS, width), np.float32)
    counts = np.empty(width, np.float32)
    for x in range(width):
        counts[x] = min(x + after, width - 1) - max(x - before, 0) + 1
    for y in range(max(0, first - before), min(height, first + after)):
        _add_row(columns, foreground, background, alpha, y, np.float32(1))
    for y in range(first, last):
        if y + after < height:
            _add_row(columns, foreground, background, alpha, y + after, np.float32(1))
        if y - before - 1 >= max(0, first - before):
            _add_row(columns, foreground, background, alpha, y - before - 1, np.float32(-1))
        _sum_boxes(columns, boxes, before, after)
        rows = min(y + after, height - 1) - max(y - before, 0) + 1
        for x in range(width):
            boxes[6, x] = boxes[6, x] / (counts[x] * np.float32(rows))
        for channel in range(3):
            _finish_row(
                image[channel, y],
                alpha[y],
                boxes[channel],
                boxes[3 + channel],
                boxes[6],
                counts,
                np.float32(rows),
                new_foreground[channel, y],
                new_background[channel, y % kept],
            )


@compiled
def _add_row(columns: Sums, foreground: Planes, background: Planes, alpha: Planes, y: int, sign: np.float32) -> None:
    covered = alpha[y]
    for channel in range(3):
        _add_product(columns[channel], foreground[channel, y], covered, sign, np.float32(0))
        _add_product(columns[3 + channel], background[channel, y], covered, -sign, sign)
    sums = columns[6]
    for x in range(len(covered)):
        sums[x] += sign * covered[x]


@compiled
def _add_product(sums: Sums, values: Planes, alpha: Planes, factor: np.float32, offset: np.float32) -> None:
    """Add values * (offset + factor * alpha): a row times alpha, or times what is left of it, added or taken off."""
    for x in range(len(sums)):
        sums[x] += values[x] * (offset + factor * alpha[x])


@compiled
def _sum_boxes(columns: Sums, boxes: Planes, before: int, after: int) -> None:
    width = columns.shape[1]
    # Seven sums side by side: each alone would wait for its own last addition at every pixel.
    a = b = c = d = e = f = g = 0.0
    for x in range(min(after, width)):
        a += columns[0, x]
        b += columns[1, x]
        c += columns[2, x]
        d += columns[3, x]
        e += columns[4, x]
        f += columns[5, x]
        g += columns[6, x]
    for x in range(width):
        enters, leaves = x + after, x - before - 1
        if enters < width:
            a += columns[0, enters]
            b += columns[1, enters]
            c += columns[2, enters]
            d += columns[3, enters]
            e += columns[4, enters]
            f += columns[5, enters]
            g += columns[6, enters]
        if leaves >= 0:
            a -= columns[0, leaves]
            b -= columns[1, leaves]
            c -= columns[2, leaves]
            d -= columns[3, leaves]
            e -= columns[4, leaves]
            f -= columns[5, leaves]
            g -= columns[6, leaves]
        boxes[0, x] = a
        boxes[1, x] = b
        boxes[2, x] = c
        boxes[3, x] = d
        boxes[4, x] = e
        boxes[5, x] = f
        boxes[6, x] = g


@compiled
def _finish_row(
    image: Planes,
    alpha: Planes,
    foreground_sum: Planes,
    background_sum: Planes,
    mean_alpha: Planes,
    counts: Planes,
    rows: np.float32,
    foreground: Planes,
    background: Planes,
) -> None:
    one = np.float32(1)
    for x in range(len(alpha)):
        count = counts[x] * rows
        covered = alpha[x]
        fore = foreground_sum[x] / (count * (mean_alpha[x] + _EPSILON))
        back = background_sum[x] / (count * (one + _EPSILON - mean_alpha[x]))
        value = fore + covered * (image[x] - covered * fore - (one - covered) * back)
        foreground[x] = min(max(value, np.float32(0)), one)
        background[x] = back
