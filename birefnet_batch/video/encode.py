"""Writing: what a segment's media are encoded as, behind one writer interface."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from birefnet_batch.video.formats import format_of
from birefnet_batch.video.info import BT709, Chapter, Levels

Kind = Literal["video", "mask"]


@dataclass(frozen=True)
class EncodeSpec:
    """How a video is encoded; the same for all of its segments."""

    output_type: str
    """In the API's spelling."""
    quality: str
    """low, medium, high or maximum."""
    write_mode: str
    """fast, balanced or small."""
    width: int
    """Pixels of the frames that are given; what is coded may be a pixel larger."""
    height: int
    time_base: Fraction
    """Of the presentation times; the file has that of `Format.time_base`."""
    average_rate: Fraction | None
    """Frames a second, for the encoder's rate control."""
    sample_aspect_ratio: Fraction | None
    threads: int
    """Encoder threads: fixed by the settings, because libx264's bytes depend on them."""
    encoder: str | None = None
    """libav's name of the encoder; None: the type's own, in software."""
    alpha: bool = False
    """Whether the video's frames have an alpha channel."""
    primaries: int = BT709
    """The colour primaries' number in ITU-T H.273, to be written; a mask has BT.709's."""
    transfer: int = BT709
    """The transfer function's, likewise."""
    dither: bool = False
    """Whether values of 16 bits are dithered to the type's depth, rather than rounded."""
    tags: tuple[tuple[str, str], ...] = ()
    """The joined file's tags, names and values."""
    chapters: tuple[Chapter, ...] = ()
    """The joined file's chapters."""


class PartWriter(ABC):
    """Writes one segment's video or mask as a playable file; a context that deletes it after an error.

    A subclass overrides `write`, `finish` and `abort`.
    """

    def __init__(self, path: Path, spec: EncodeSpec) -> None:
        self.path = path
        self.spec = spec

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                self.finish()
                return
            except BaseException:
                discard(self.path)
                raise
        self.abort()
        discard(self.path)

    @abstractmethod
    def write(self, image: Levels, pts: int, duration: int) -> None:
        """Encode one frame.

        Args:
            image: (H, W, 3) RGB for a video, (H, W, 4) RGBA for one with alpha, (H, W) for a mask, contiguous.
                uint8; uint16 too where the type has more than 8 bits.
            pts: presentation time in ticks of the spec's time base, larger than the one before.
            duration: ticks until the next frame.

        Raises:
            OutputError: the file cannot be written.
        """

    @abstractmethod
    def finish(self) -> None:
        """Encode what is buffered and close the file.

        Raises:
            OutputError: the file cannot be written.
        """

    @abstractmethod
    def abort(self) -> None:
        """Close the file, whatever is in it."""


def discard(path: Path) -> None:
    """Remove a file and free its space: libav keeps one open that it could not end on a full disk."""
    with suppress(OSError):
        os.truncate(path, 0)
    path.unlink(missing_ok=True)


def open_part(path: Path, spec: EncodeSpec, kind: Kind) -> PartWriter:
    """The writer of one segment's video or mask.

    Raises:
        ConfigError: the output type is not written by this version.
        OutputError: the file cannot be opened.
    """
    form = format_of(spec.output_type)
    from birefnet_batch.video.gif import GifWriter
    from birefnet_batch.video.nvenc import NvencWriter
    from birefnet_batch.video.prores import ProresWriter
    from birefnet_batch.video.vp9 import Vp9Writer
    from birefnet_batch.video.x264 import X264Writer

    writers: dict[str, Callable[[Path, EncodeSpec, Kind], PartWriter]] = {
        writer.codec: writer for writer in (X264Writer, NvencWriter, Vp9Writer, ProresWriter, GifWriter)
    }
    return writers[spec.encoder or form.encoder](path, spec, kind)
