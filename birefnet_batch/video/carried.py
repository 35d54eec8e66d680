"""What audio and subtitles share on their way from the source into the joined file."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import ClassVar, Generic, Literal, Protocol, Self, TypeVar

from av.container import InputContainer
from av.stream import Disposition, Stream

from birefnet_batch.counted import counted
from birefnet_batch.errors import InputError
from birefnet_batch.video.container import BROKEN, companions, open_input, pick_video, reason_of
from birefnet_batch.video.timed import Timed


class RefusedError(Exception):
    """The container does not take what is carried over in this form.

    Args:
        what: `audio` or `subtitles`.
        error: why.
    """

    def __init__(self, what: str, error: BaseException) -> None:
        super().__init__(reason_of(error))
        self.what = what


class CarriedTrack(Protocol):
    """One track of the source."""

    number: int
    """From 1 on, of its kind."""
    dropped: int
    """How many of its packets were left out."""

    def packets(self) -> Iterator[Timed]:
        """Its packets, ready to mux; to be called once."""
        ...


Track = TypeVar("Track", bound=CarriedTrack)

# MP4 and MOV name a track's handler too, which older readers take for the title; nearly always it is a program's own
# word for the kind of track. A QuickTime string has at most 255 bytes.
_HANDLED = ("mp4", "mov")
_NO_TITLE = re.compile("handler|core media|iso media|^(sound|audio|text|subtitle)s?$", re.IGNORECASE)
_LONGEST_HANDLER = 255


def describe(source: Stream, out: Stream) -> None:
    """Give a track the language, title and disposition of the source's, as far as its container carries them.

    WebM has the title and the flags default and forced, MP4 the title and nearly every flag, MOV the title and
    default.
    """
    tags = source.metadata
    if tags.get("language"):
        out.metadata["language"] = tags["language"]
    handler = tags.get("handler_name", "")
    title = tags.get("title") or tags.get("name") or ("" if _NO_TITLE.search(handler) else handler)
    if title:
        out.metadata["title"] = title
        if out.container.format.name in _HANDLED and len(title.encode()) <= _LONGEST_HANDLER:
            out.metadata["handler_name"] = title
    out.disposition = Disposition(source.disposition)


class CarriedTracks(ABC, Generic[Track]):
    """Every track of a kind, each read through a container of its own; a context.

    A track that cannot be read is left out with a note: it must not cost the picture.

    Args:
        path: the source; None has no tracks.
        tell: called while the source is read.
    """

    stream: ClassVar[Literal["audio", "subtitle"]]
    """libav's name of their kind."""
    kind: ClassVar[str]
    """What all of them are, and the verb, for notes."""
    one: ClassVar[str]
    """What one is, before its number."""
    parts: ClassVar[str]
    """What is left out of a damaged one."""

    def __init__(self, path: bytes | None, tell: Callable[[], None]) -> None:
        self._path = path
        self._tell = tell
        self._context = ExitStack()
        self._tracks: list[Track] = []
        self.notes: list[str] = []

    @abstractmethod
    def _track(self, number: int, container: InputContainer, index: int) -> Track:
        """A track; ValueError or what FFmpeg raises leaves it out."""

    def __enter__(self) -> Self:
        if self._path is None:
            return self
        try:
            with open_input(self._path, self._tell) as container:
                video = pick_video(container, self._path)
                indexes = [stream.index for stream in companions(container, video, self.stream)]
        except (InputError, *BROKEN) as error:
            self.notes.append(f"the {self.kind} left out: {reason_of(error)}")
            return self
        for number, index in enumerate(indexes, 1):
            try:
                container = self._context.enter_context(open_input(self._path, self._tell))
                self._tracks.append(self._track(number, container, index))
            except (InputError, *BROKEN) as error:
                self._leave_out(number, error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()

    @property
    def count(self) -> int:
        """How many tracks the file has."""
        return len(self._tracks)

    def packets(self) -> list[Iterator[Timed]]:
        """For each track its packets, ready to mux, with their decode times in seconds."""
        return [self._guarded(track) for track in self._tracks]

    def _guarded(self, track: Track) -> Iterator[Timed]:
        try:
            yield from track.packets()
        except BROKEN as error:
            self.notes.append(f"{self.one} {track.number} ends early: {reason_of(error)}")
        if track.dropped:
            left_out = counted(track.dropped, f"{self.parts} were left out")
            self.notes.append(f"{self.one} {track.number}: {left_out}")

    def _leave_out(self, number: int, error: BaseException) -> None:
        self.notes.append(f"{self.one} {number} was left out: {reason_of(error)}")
