"""AAC with a header in each packet: when it can be copied into a track that has one for all."""

from __future__ import annotations

from typing import Any

import av
import pytest

from birefnet_batch.video.adts import unchanging
from birefnet_batch.video.carried import RefusedError

STEREO, MONO, RAW = bytes.fromhex("fff14c80 01bffc21"), bytes.fromhex("fff14c40 01bffc01"), bytes.fromhex("21114500")


def copied(*packets: bytes) -> list[bytes]:
    made: list[Any] = [av.Packet(packet) for packet in packets]
    return [bytes(packet) for packet in unchanging(made)]


@pytest.mark.parametrize("packets", [[STEREO] * 3, [STEREO, MONO, STEREO, MONO, STEREO], [RAW] * 3])
def test_what_stays_the_same_or_is_damaged_once_is_copied(packets: list[bytes]) -> None:
    assert copied(*packets) == packets


def test_channels_that_change_are_refused() -> None:
    with pytest.raises(RefusedError, match="channels change on the way"):
        copied(STEREO, STEREO, MONO, MONO)
