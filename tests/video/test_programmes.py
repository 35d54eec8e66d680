"""Of a transport stream with several programmes one is taken: each has a clock of its own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from video_clips import Clip, Sound, beep_start, convert, look, make

from birefnet_batch.video.probe import probe

PACKET = 188


def programme(folder: Path, number: int, size: tuple[int, int], start_s: int) -> list[bytes]:
    """The packets of a transport stream with one programme, whose sound beeps half a second after its start."""
    clip = Clip(
        frames=50,
        size=size,
        format="mpegts",
        time_base=Fraction(1, 90000),
        times=[90000 * start_s + 3600 * frame for frame in range(50)],
        options={"bf": "0"},
        sounds=(Sound(start_s=start_s, beep_s=start_s + 0.5),),
        muxer={
            "mpegts_service_id": str(number),
            "mpegts_pmt_start_pid": str(0x1000 + number),
            "mpegts_start_pid": str(0x100 * number),
        },
    )
    content = make(folder / f"{number}.ts", clip).read_bytes()
    return [content[at : at + PACKET] for at in range(0, len(content), PACKET)]


def checked(section: bytes) -> bytes:
    """A section with its CRC (ISO/IEC 13818-1, annex A)."""
    crc = 0xFFFFFFFF
    for byte in section:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return section + crc.to_bytes(4)


def together(first: list[bytes], second: list[bytes]) -> bytes:
    """The two programmes, one packet of each in turn, under one table of programmes."""
    table = checked(bytes.fromhex("00b0110001c10000 0001f001 0002f002"))
    packets = [packet for pair in zip(first, second, strict=False) for packet in pair]
    longest = max(first, second, key=len)
    packets += longest[len(packets) // 2 :]
    kept = []
    listed = False
    for packet in packets:
        number = int.from_bytes(packet[1:3]) & 0x1FFF
        if number == 0 and not listed:
            kept.append((packet[:4] + b"\0" + table).ljust(PACKET, b"\xff"))
            listed = True
        elif number not in (0, 0x11):
            kept.append(packet)
    return b"".join(kept)


@pytest.mark.parametrize("starts_s", [(5000, 10), (10, 5000)], ids=["later", "earlier"])
def test_the_largest_picture_comes_with_its_own_sound_and_clock(starts_s: tuple[int, int], tmp_path: Path) -> None:
    source = tmp_path / "clip.ts"
    large, small = (
        programme(tmp_path, number, size, start_s)
        for number, size, start_s in zip((1, 2), ((96, 64), (64, 48)), starts_s, strict=True)
    )
    source.write_bytes(together(large, small))
    with av.open(str(source)) as container:
        assert len(container.streams) == 4
    assert probe(source).audio_tracks == 1
    facts = convert(source, tmp_path / "out.mp4")
    assert facts.notes == ()
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    assert look(tmp_path / "out.mp4").times[0] < 0.1
    assert beep_start(tmp_path / "out.mp4") - float(look(tmp_path / "out.mp4").times[0]) == pytest.approx(0.5, abs=0.03)
