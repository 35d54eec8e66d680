"""How VP9 is encoded."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birefnet_batch.video.encode import EncodeSpec
from birefnet_batch.video.formats import VP9
from birefnet_batch.video.vp9 import Vp9Writer


class Counting:
    """A container that counts the packets that it is given."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self.packets = 0

    def mux(self, packets: list[Any]) -> None:
        self.packets += len(packets)
        self._container.mux(packets)

    def close(self) -> None:
        self._container.close()


@pytest.mark.parametrize("mode", ["fast", "balanced"])
@pytest.mark.parametrize("size", [(2560, 1600), (64, 48)], ids=["large", "small"])
def test_no_large_frame_waits_in_the_encoder(size: tuple[int, int], mode: str, tmp_path: Path) -> None:
    width, height = size
    spec = EncodeSpec(
        VP9.output_type, "low", mode, width, height, Fraction(1, 1000), Fraction(25), None, threads=2, alpha=True
    )
    with Vp9Writer(tmp_path / "part", spec, "video") as writer:
        counting = Counting(writer._container)
        writer._container = counting  # type: ignore[assignment]
        for number in range(3):
            writer.write(np.zeros((height, width, 4), np.uint8), number * 40, 40)
        waiting = 3 - counting.packets
    assert waiting <= 1 if width > 1000 else waiting == 3
