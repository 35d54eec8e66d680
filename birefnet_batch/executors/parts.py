"""How the parts of long videos get from the workers that make them to the one that joins them.

Through a folder that all machines see, or a bucket: below `<location>/<digest of the output>/<run id>/`, or in the
output's own scratch folder. Who holds the output's lease takes over or removes what dead runs left there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from birefnet_batch.settings import Settings
from birefnet_batch.storage.output import Output
from birefnet_batch.uri_schemes import BUCKET_SCHEMES, scheme_of
from birefnet_batch.uris import user_path


class Parts(ABC):
    """The parts of a run. Each method raises an OutputError where the place cannot be read or written."""

    @abstractmethod
    def inherit(self) -> None:
        """Take over finished segments of this output's dead runs, and remove what else they left; for the driver."""

    @abstractmethod
    def drop(self, job_id: str) -> None:
        """Remove a job's parts."""

    @abstractmethod
    def clean(self, over: bool) -> None:
        """Remove the run's parts; before it is over, finished segments stay.

        Those of other runs are not its to remove: one may have taken the output over.
        """

    @abstractmethod
    def folder(self, copies: Path) -> Path:
        """The folder in which a worker makes and reads parts.

        Args:
            copies: one of its own machine, where there is none that all see.

        Raises:
            OutputError: the worker does not see the folder that the driver made; its parts would be lost to the others.
        """

    @abstractmethod
    def put(self, job_id: str, paths: Iterable[Path]) -> None:
        """Hand over what a worker has made."""

    @abstractmethod
    def get(self, job_id: str, folder: Path, names: Iterable[str]) -> None:
        """Fetch what is not in the job's folder here yet."""

    @abstractmethod
    def get_records(self, job_id: str, folder: Path) -> set[str] | None:
        """Fetch the records of a job's finished segments.

        Returns:
            The names of all files of the job that are to be fetched; None where all are in the folder.
        """

    @abstractmethod
    def drop_records(self, job_id: str, folder: Path, names: Iterable[str]) -> None:
        """Remove records of segments that are to be done again, wherever they were fetched from.

        Beside new parts they would say that half a part is whole, or that it was made for the settings of before.
        """


def open_parts(settings: Settings, output: Output, run_id: str) -> Parts:
    """Where a run's parts travel: `executor.scratch`, or else the output's scratch folder or bucket.

    Raises:
        ConfigError: no bucket is named, its URL has credentials, or the library for it is missing.
    """
    from birefnet_batch.executors.bucket_parts import BucketParts
    from birefnet_batch.executors.folder_parts import FolderParts, OutputsParts

    given = settings.executor.scratch
    if given is None and output.shared_parts is not None:
        return OutputsParts(output.shared_parts)
    if given is None or scheme_of(given) in BUCKET_SCHEMES:
        return BucketParts(settings, output, run_id)
    return FolderParts(given, user_path(given).absolute() / output.digest / run_id)
