"""Where results go. A file appears under its final name only when it is whole: temporary name, fsync, rename."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from birefnet_batch.errors import ConfigError, OutputError
from birefnet_batch.storage.reasons import reason_of
from birefnet_batch.storage.scratch import Scratch
from birefnet_batch.uris import local_path, redact, scheme_of


class Output:
    """A folder of results. Files appear in it whole or not at all.

    The run's own process enters it as a context; every other process of the run, on whatever machine, gets a pickled
    copy and works inside `attach()`.

    Args:
        location: a path or a file:// URI.
        run_id: names this run's own scratch folder below it.
        scratch: a folder for fetched inputs and parts; by default below the output.

    Raises:
        ConfigError: the location is not on this machine's disk.
    """

    def __init__(self, location: str, run_id: str, scratch: str | None = None) -> None:
        scheme = scheme_of(location)
        if scheme not in ("", "file"):
            raise ConfigError(
                f"output is {redact(location)!r}; this version writes to folders: give a path or a file:// URI"
            )
        path = local_path(location) if scheme else Path(location).expanduser()
        # Without `..`, whatever the working folder: the results' URLs are made of it.
        self.root = Path(os.path.normpath(path.absolute()))
        self._run_id = run_id
        self._staging = Scratch(self.root / ".scratch", run_id)
        self._work = Scratch(Path(scratch).expanduser().absolute(), run_id) if scratch else self._staging
        self._opened = ExitStack()

    def __reduce__(self) -> tuple[object, ...]:
        # Locks stay with the process that took them.
        scratch = None if self._work is self._staging else str(self._work.path.parent)
        return type(self), (str(self.root), self._run_id, scratch)

    def __enter__(self) -> Output:
        """Make the folders, prove that they can be written, and remove what dead runs left.

        Raises:
            OutputError: they cannot be written.
        """
        self._open(Scratch.own)
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @contextmanager
    def attach(self) -> Iterator[Output]:
        """The same output in another process of the run: nothing of other runs is removed, and nothing published.

        Several processes may be attached at once. What they leave under temporary names is removed with the last of
        them on a machine, or by the run's own process.

        Raises:
            OutputError: the scratch folders cannot be written from here.
        """
        self._open(Scratch.share)
        try:
            yield self
        finally:
            self._opened.close()

    def _open(self, how: Callable[[Scratch], None]) -> None:
        try:
            for folder in dict.fromkeys((self._staging, self._work)):
                self._opened.callback(folder.close)
                how(folder)
        except OSError as error:
            self._opened.close()
            raise OutputError(
                f"output={self.root} cannot be written: {reason_of(error)}; choose another folder or mend its rights"
            ) from None

    @property
    def scratch(self) -> Path:
        """A folder on this machine for fetched inputs and parts."""
        return self._work.path

    def staged(self, name: str) -> Path:
        """A temporary path on the output's file system, for a file that `publish` renames."""
        return self._staging.path / name

    def path(self, relative: str) -> Path:
        """Where a file with this name below the output is or will be."""
        return self.root / relative

    def publish(self, staged: Path, relative: str) -> None:
        """Give a finished file its final name, durably.

        Raises:
            OutputError: the disk is full or the folder cannot be written.
        """
        target = self.path(relative)
        try:
            with staged.open("rb") as file:
                os.fsync(file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {reason_of(error)}") from None

    def write(self, relative: str, content: bytes) -> None:
        """Write a small file whole, replacing the one that is there.

        Raises:
            OutputError: the disk is full or the folder cannot be written.
        """
        staged = self.staged(f"{secrets.token_hex(8)}.tmp")
        try:
            staged.write_bytes(content)
        except OSError as error:
            raise OutputError(f"{self.path(relative)} cannot be written: {reason_of(error)}") from None
        self.publish(staged, relative)

    def remove(self, relative: str) -> None:
        """Remove a file if it is there."""
        self.path(relative).unlink(missing_ok=True)

    def read(self, relative: str) -> bytes | None:
        """A file's content, or None where there is none."""
        try:
            return self.path(relative).read_bytes()
        except FileNotFoundError:
            return None

    def list(self, folder: str) -> list[str]:
        """The names in a folder; none where it does not exist."""
        try:
            return sorted(entry.name for entry in os.scandir(self.path(folder)))
        except FileNotFoundError:
            return []


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
