"""Parts of long videos in a folder that all machines see: nothing has to be fetched."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from birefnet_batch.errors import OutputError
from birefnet_batch.executors.parts import Parts
from birefnet_batch.refusals import named_reason
from birefnet_batch.storage.finished_parts import keep_finished, move_finished


class OutputsParts(Parts):
    """Parts in the output's own scratch folder, which takes over what dead runs left and is cleaned by itself.

    Args:
        folder: the run's folder of parts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def inherit(self) -> None:
        """See `Parts`."""

    def drop(self, job_id: str) -> None:
        """See `Parts`."""
        shutil.rmtree(self._folder / job_id, ignore_errors=True)

    def clean(self, over: bool) -> None:
        """See `Parts`."""

    def folder(self, copies: Path) -> Path:
        """See `Parts`."""
        return self._folder

    def put(self, job_id: str, paths: Iterable[Path]) -> None:
        """See `Parts`."""

    def get(self, job_id: str, folder: Path, names: Iterable[str]) -> None:
        """See `Parts`."""

    def get_records(self, job_id: str, folder: Path) -> None:
        """See `Parts`."""

    def drop_records(self, job_id: str, folder: Path, names: Iterable[str]) -> None:
        """See `Parts`."""


class FolderParts(OutputsParts):
    """Parts in the folder that `executor.scratch` names.

    Args:
        given: the setting.
        folder: the run's folder below it, in that of the output.
    """

    def __init__(self, given: str, folder: Path) -> None:
        super().__init__(folder)
        self._given = given

    def inherit(self) -> None:
        """See `Parts`."""
        with self._written():
            # Workers tell by it whether they see the same.
            self._folder.mkdir(parents=True, exist_ok=True)
            for dead in self._folder.parent.iterdir():
                if dead != self._folder:
                    move_finished(dead, self._folder)
                    shutil.rmtree(dead, ignore_errors=True)

    def clean(self, over: bool) -> None:
        """See `Parts`."""
        with self._written():
            kept = 0 if over else keep_finished(self._folder)
        if not kept:
            shutil.rmtree(self._folder, ignore_errors=True)
            # It stays where another run has taken the output over.
            with suppress(OSError):
                self._folder.parent.rmdir()

    def folder(self, copies: Path) -> Path:
        """See `Parts`."""
        if not self._folder.is_dir():
            raise OutputError(
                f"executor.scratch={self._given} is not the same on {socket.gethostname()} as where the run "
                "was started; mount the folder at the same place on all machines, or give a bucket"
            )
        return self._folder

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = named_reason(error, "choose another folder or mend its rights")
            raise OutputError(f"executor.scratch={self._given} cannot be written: {reason}") from None
