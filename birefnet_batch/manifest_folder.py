"""The videos of a folder, a pattern or a bucket, as entries of a manifest; a run's own results are none."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from birefnet_batch.manifest_entries import Entry
from birefnet_batch.settings import StorageSettings
from birefnet_batch.uris import user_path

VIDEO_SUFFIXES = frozenset(
    ".mp4 .mov .m4v .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .mxf .gif".split()
)


def videos_in_folder(path: Path, own: OwnOutput) -> Iterator[Entry]:
    """The videos of a folder, in depth, by their names; hidden ones are left out."""
    for found in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in found.relative_to(path).parts)
        if found.suffix.lower() in VIDEO_SUFFIXES and not hidden and not _is_folder(found) and not own.holds(found):
            yield Entry(str(found), str(found.absolute()))


def videos_in_bucket(location: str, exclude: str | None, storage: StorageSettings) -> Iterator[Entry]:
    """The videos below a place in a bucket, or of a pattern of one.

    Raises:
        InputError: the bucket cannot be listed.
    """
    from birefnet_batch.storage.listing import list_videos

    for uri in list_videos(location, VIDEO_SUFFIXES, storage):
        if exclude is None or not uri.startswith(exclude):
            yield Entry(uri, uri)


def videos_of_pattern(pattern: str, own: OwnOutput) -> Iterator[Entry]:
    """What a pattern of local paths matches, whatever its name, but for folders."""
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207  Path.glob refuses absolute patterns
        found = Path(name)
        if not _is_folder(found) and not own.holds(found):
            yield Entry(name, str(found.absolute()))


def _is_folder(path: Path) -> bool:
    """What is no file, a pipe or a link to nowhere, or cannot be looked at, fails as a video that says so."""
    return os.path.isdir(path)  # noqa: PTH112  Path.is_dir raises where a folder may be listed and not entered


class OwnOutput:
    """The run's own output, of which nothing is an input.

    Args:
        folder: its real folder; None where it is a bucket, or there is none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[Path, bool] = {}

    def holds(self, path: Path) -> bool:
        """Whether a file is in it; each folder is looked at once."""
        if self._folder is None:
            return False
        if path.parent not in self._known:
            self._known[path.parent] = real_folder(str(path.parent)).is_relative_to(self._folder)
        return self._known[path.parent]


def real_folder(location: str) -> Path:
    """A folder however it is spelt: relative, with dots, as a URI, through links."""
    return Path(os.path.realpath(user_path(location)))
