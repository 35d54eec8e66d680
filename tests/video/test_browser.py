"""Chromium shows the alpha of our WebM files: frames over two colours, compared pixel by pixel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, player
from numpy.typing import NDArray
from test_output_types import SPEC, cut_out, write


def over(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.float64]:
    alpha = image[..., 3:].astype(float) / 255
    return image[..., :3] * alpha + np.array(colour, float) * (1 - alpha)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium, which judges the alpha, is not installed")
def test_chromium_lays_every_frame_over_what_is_behind_it(tmp_path: Path) -> None:
    spec = replace(SPEC, write_mode="balanced", width=128, height=96)
    path = tmp_path / "out.webm"
    write(path, [cut_out(number, (128, 96)) for number in range(8)], spec, parts=2)
    frames, colours = (0, 3, 6), ((255, 0, 0), (0, 0, 255))
    with player([path], [(frame + 0.5) / 25 for frame in frames], [f"rgb{colour}" for colour in colours]) as sent:
        assert sent.get(timeout=90)[0] == "/facts"
        for frame in frames:
            for colour in colours:
                kind, body = sent.get(timeout=90)
                assert kind == "/pixels", body
                found = np.frombuffer(body, np.uint8).reshape(96, 128, 4)[..., :3].astype(float)
                wanted = over(cut_out(frame, (128, 96)), colour)
                difference = np.abs(found - wanted)
                # Chroma is coded at half the resolution: a stripe's edge is soft by a pixel.
                assert np.median(difference) <= 3
                assert np.quantile(difference, 0.99) <= 40
                # Above, where nothing covers it, the colour itself is seen; below, nothing of it.
                assert np.abs(found[:8] - colour).max() <= 6
                assert np.abs(found[-8:] - wanted[-8:]).mean() <= 4
