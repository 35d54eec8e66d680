"""Which packets of packed MPEG-4 give a frame."""

from __future__ import annotations

from typing import Any

import av
import pytest

from birefnet_batch.video.packed_frames import PackedFrames

VOP = b"\0\0\1\xb6"
ONE, TWO, EMPTY = VOP + bytes(40), VOP + bytes(40) + VOP + bytes(40), VOP + b"\x51\0\x80"


@pytest.mark.parametrize(
    ("packets", "given", "packed"),
    [
        ((ONE, ONE, EMPTY, ONE), [True, True, False, True], False),
        ((ONE, TWO, EMPTY, TWO, EMPTY, EMPTY), [True, True, True, True, True, False], True),
        ((ONE, TWO, ONE, EMPTY, ONE), [True] * 5, True),
    ],
    ids=["frames left out", "packed", "two in a row packed"],
)
def test_an_empty_packet_gives_a_frame_only_if_one_was_packed(
    packets: tuple[bytes, ...], given: list[bool], packed: bool
) -> None:
    frames = PackedFrames()
    made: list[Any] = [av.Packet(packet) for packet in packets]
    assert [frames.sent(packet) for packet in made] == given
    assert frames.seen == packed
