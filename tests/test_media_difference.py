"""How far two videos are from each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from birefnet_batch.media_difference import Difference, compare_media


def make(path: Path, alphas: Sequence[int | None], colour: int = 0) -> Path:
    """Frames of one grey without loss, each of another transparency; None is opaque, in a file that has none."""
    pixels = "rgb24" if None in alphas else "rgba"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, pixels
        for alpha in alphas:
            values = (colour,) * 3 if alpha is None else (*(colour,) * 3, alpha)
            image = np.full((16, 32, len(values)), values, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format=pixels)))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        ((255, 255), (255, 0), Difference(0.0, 0.0, 0.5)),
        ((None, None), (255, 204), Difference(10 * math.log10(25), 0.0, 0.1)),
        ((51, 51), (51, 51), Difference(math.inf, 0.0, 0.0)),
        ((None,), (None,), Difference(math.inf, 0.0, None)),
    ],
)
def test_transparency_is_compared_where_colours_are_too_dark_to_show_it(
    tmp_path: Path, first: Sequence[int | None], second: Sequence[int | None], difference: Difference
) -> None:
    files = make(tmp_path / "first.mov", first), make(tmp_path / "second.mov", second)
    found = compare_media(*files)
    assert found.psnr_db == pytest.approx(difference.psnr_db)
    assert found.mean_error == difference.mean_error
    assert found.alpha_error == (difference.alpha_error and pytest.approx(difference.alpha_error))
    assert not found.reason


def test_colours_are_compared_and_other_counts_have_a_reason(tmp_path: Path) -> None:
    dark, light = make(tmp_path / "dark.mov", (None,)), make(tmp_path / "light.mov", (None,), colour=51)
    assert compare_media(dark, light).mean_error == pytest.approx(0.2)
    assert "one ends after 1 frames" in compare_media(dark, make(tmp_path / "long.mov", (None, None))).reason
