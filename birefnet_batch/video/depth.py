"""How much of a source's depth and range an output type keeps."""

from __future__ import annotations

from collections.abc import Iterator

from birefnet_batch.video.formats import Format
from birefnet_batch.video.info import VideoInfo


def reads_wide(info: VideoInfo, form: Format) -> bool:
    """Whether frames are worked on with 16 bits: where they are kept, and where they are to be tone-mapped."""
    return info.hdr is not None or (info.bits > 8 and form.wide)


def tone_maps(info: VideoInfo, form: Format) -> bool:
    """Whether a high dynamic range is mapped to that of BT.709."""
    return info.hdr is not None and not form.wide


def dithers(info: VideoInfo, form: Format) -> bool:
    """Whether more bits than the type has are dithered to those that it has."""
    return form.wide and info.bits > form.bits


def notes(info: VideoInfo, form: Format) -> Iterator[str]:
    """What the job's record says of it."""
    if tone_maps(info, form):
        peak = "" if info.peak is None else f" of up to {info.peak:g} cd/m2"
        yield (
            f"the picture is high dynamic range ({info.hdr}{peak}): it was tone-mapped to BT.709; "
            "video_output_type PRORES4444 (.mov) keeps it"
        )
    elif info.hdr is not None:
        yield f"the picture is high dynamic range ({info.hdr}): it was kept, with its tags"
    if dithers(info, form):
        yield f"the source has {info.bits} bits a component: they were dithered to {form.bits}"
