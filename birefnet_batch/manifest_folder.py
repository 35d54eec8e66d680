"""The videos of a folder, a pattern or a bucket, as entries of a manifest; results of runs are none."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from birefnet_batch.manifest_entries import BadLine, Entry
from birefnet_batch.other_outputs import Results
from birefnet_batch.refusals import system_reason
from birefnet_batch.settings import StorageSettings
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.uris import user_path

_log = logging.getLogger(__name__)
VIDEO_SUFFIXES = frozenset(
    ".mp4 .mov .m4v .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .mxf .gif".split()
)
# Folders of file systems at the top of disks, closed as a rule, with nothing of a user's in them.
_OF_THE_SYSTEM = ("lost+found", "System Volume Information")
_SHOWN_KINDS = 5


def videos_in_folder(path: Path, own: OwnOutput) -> Iterator[Entry]:
    """The videos of a folder, in depth, by their names; hidden ones and results of other runs are left out.

    Links to folders are followed, and a folder that cannot be listed is a bad entry: its videos would be missed.
    """
    closed: list[OSError] = []
    for found in sorted(_videos_below(path, own, closed)):
        yield Entry(str(found), str(found.absolute()))
    for error in closed:
        if Path(error.filename) == path or Path(error.filename).name not in _OF_THE_SYSTEM:
            reason = system_reason(error)
            what_to_do = "make it readable, or give a folder or a pattern without it"
            yield Entry(error.filename, BadLine(f"this folder cannot be listed: {reason}; {what_to_do}"))


def _videos_below(root: Path, own: OwnOutput, closed: list[OSError]) -> Iterator[Path]:
    """Each folder is looked into once; what cannot be listed is added to `closed`."""
    top, seen, results = real_folder(str(root)), set[Path](), Results(str(root))
    # Links come last, so that a folder that is here as well has the name of its own place, whatever links are called.
    starts, others = [] if own.has(root) else [str(root)], Counter[str]()
    for start in starts:
        for folder, folders, files in os.walk(start, onerror=closed.append):
            real = real_folder(folder)
            # A link to a folder around all this leads back to it.
            if real in seen or (real != top and top.is_relative_to(real)):
                folders.clear()
                continue
            seen.add(real)
            folders[:] = [
                name
                for name in folders
                if not name.startswith(".") and not own.has(Path(folder, name)) and not results.are(Path(folder), name)
            ]
            starts += [str(inner) for name in folders if (inner := Path(folder, name)).is_symlink()]
            for name in files:
                if name.startswith("."):
                    continue
                suffix = Path(name).suffix.lower()
                if suffix in VIDEO_SUFFIXES:
                    yield Path(folder, name)
                else:
                    others[suffix or "no suffix"] += 1
    results.log_left_out()
    _log_others(root, others)


def _log_others(root: Path, others: Counter[str]) -> None:
    """Say in one line how many files were left out, by their suffixes."""
    if not others:
        return
    kinds = ", ".join(f"{count} of {suffix}" for suffix, count in others.most_common(_SHOWN_KINDS))
    more = ", ..." if len(others) > _SHOWN_KINDS else ""
    what_to_do = "if some are videos, give a pattern or a manifest that names them"
    count = "1 other file" if others.total() == 1 else f"{others.total()} other files"
    _log.info("left out in %s: %s (%s%s); %s", root, count, kinds, more, what_to_do)


def videos_in_bucket(location: str, exclude: str | None, storage: StorageSettings) -> Iterator[Entry]:
    """The videos below a place in a bucket, or of a pattern of one.

    Raises:
        InputError: the bucket cannot be listed.
    """
    from birefnet_batch.storage.listing import list_videos

    if exclude is not None and scheme_of(exclude):
        # As the listing spells it.
        exclude = f"{scheme_of(exclude)}://{exclude.partition('://')[2]}"
    for uri in list_videos(location, VIDEO_SUFFIXES, storage, exclude):
        yield Entry(uri, uri)


def videos_of_pattern(pattern: str, own: OwnOutput) -> Iterator[Entry]:
    """What a pattern of local paths matches, whatever its name, but for folders and results of other runs."""
    results = Results.beside_pattern(pattern)
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207  Path.glob refuses absolute patterns
        found = Path(name)
        if not _is_folder(found) and not own.holds(found) and not results.hold(found):
            yield Entry(name, str(found.absolute()))
    results.log_left_out()


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
        """Whether a file is in it."""
        return self.has(path.parent)

    def has(self, folder: Path) -> bool:
        """Whether a folder is it, or in it; each is looked at once."""
        if self._folder is None:
            return False
        if folder not in self._known:
            self._known[folder] = real_folder(str(folder)).is_relative_to(self._folder)
        return self._known[folder]


def real_folder(location: str) -> Path:
    """A folder however it is spelt: relative, with dots, as a URI, through links."""
    return Path(os.path.realpath(user_path(location)))
