"""A folder of checkpoints for machines without a network: <folder>/<short name>/model.safetensors, and its source."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from birefnet_batch.digests import file_sha256, known_sha256
from birefnet_batch.errors import WeightsError
from birefnet_batch.models.file_text import shown
from birefnet_batch.models.hub import FILE_NAME, HubFile, fetch_to_file, look_up, look_up_cached
from birefnet_batch.models.hub_errors import HubError, NoAnswerError
from birefnet_batch.models.spec import hub_name
from birefnet_batch.refusals import system_reason
from birefnet_batch.storage.durable import write_whole

_SOURCE = "source.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where a checkpoint of the folder came from, and what it was when it came."""

    repository: str
    revision: str
    """What was asked for: a branch, a tag or a commit."""
    commit: str
    size: int
    """Bytes."""
    sha256: str

    def is_of(self, repository: str, revision: str | None) -> bool:
        """Whether it is what a `weights` setting asks for."""
        return self.repository == repository and (revision is None or revision in (self.revision, self.commit))

    def is_exactly(self, repository: str, revision: str | None) -> bool:
        """Whether it is what `fetch` asks for, to which no revision means the main branch."""
        return self.is_of(repository, revision or "main")


def checkpoint_in(folder: Path, name: str) -> Path:
    """Where the checkpoint of a model (its short name) is or would be."""
    return folder / name / FILE_NAME


def names_in(folder: Path) -> list[str]:
    """The short names of the models that a folder holds; none where it does not exist.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        # Path.glob calls a folder empty that may not be read.
        names = os.listdir(folder)  # noqa: PTH208  names alone
    except FileNotFoundError:
        return []
    except OSError as error:
        raise WeightsError(f"{folder} cannot be read: {system_reason(error)}") from None
    return sorted(name for name in names if os.path.exists(checkpoint_in(folder, name)))  # noqa: PTH110  never raises


def source_in(folder: Path, name: str) -> Source | None:
    """What the folder says of a checkpoint; None: a user put it there without a word.

    Raises:
        WeightsError: it says something that cannot be read.
    """
    path = folder / name / _SOURCE
    try:
        source = Source(**json.loads(path.read_bytes()))
        texts = (source.repository, source.revision, source.commit, source.sha256)
        if not all(isinstance(text, str) for text in texts) or type(source.size) is not int:
            raise TypeError("its values are none that fetch writes")
        return source
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be read ({shown(str(error))}); fetch {name} again") from None


def fetch(
    folder: Path, name: str, repository: str, revision: str | None, judge: Callable[[Path], object] | None = None
) -> tuple[Source, bool]:
    """Make the folder hold a checkpoint of the hub.

    When the hub does not answer: what the folder has of this revision stays, else it is taken from the hub's cache on
    this machine.

    Args:
        folder: the folder, made if need be.
        name: the model's short name.
        repository: `owner/name` on the hub.
        revision: a branch, a tag or a commit; None is the main branch.
        judge: raises WeightsError if a file cannot be used; one that stands there already is then not replaced.

    Returns:
        What is there now, and whether it was fetched: it may have been there.

    Raises:
        WeightsError: it cannot be had or written, or would replace a file though it cannot be used.
    """
    target = checkpoint_in(folder, name)

    def judged(path: Path) -> None:
        if judge is None:
            return
        try:
            judge(path)
        except WeightsError as error:
            hub = hub_name(repository, revision)
            # The file is deleted by the time that anybody reads its name.
            said = str(error).replace(str(path), f"of {hub}")
            raise WeightsError(
                f"{name}: what {hub} has cannot be used, and {target} stays as it was: {said}; what came was deleted"
            ) from None

    try:
        try:
            file = look_up(repository, revision)
        except NoAnswerError as error:
            there = _right_in(folder, name)
            if there is not None and there.is_exactly(repository, revision):
                _log.warning("%s: what %s has stays, a newer version is not asked for", error, target.parent)
                return there, False
            file = _known_without_hub(repository, revision, error)
        new = fetch_to_file(file, target, judged)
        source = Source(repository, revision or "main", file.commit, target.stat().st_size, known_sha256(target))
        write_whole(target.with_name(_SOURCE), (json.dumps(asdict(source), indent=2) + "\n").encode())
    except HubError as error:
        raise WeightsError(f"The weights of {name} ({hub_name(repository, revision)}) cannot be had: {error}") from None
    except OSError as error:
        reason = system_reason(error)
        raise WeightsError(f"The weights of {name} cannot be written to {target.parent}: {reason}") from None
    return source, new


def _known_without_hub(repository: str, revision: str | None, error: NoAnswerError) -> HubFile:
    file = look_up_cached(repository, revision)
    if file is None:
        raise HubError(f"they are not in the hub's cache on this machine, and {error}")
    _log.warning("%s: %s@%s is taken from the hub's cache on this machine", error, repository, file.commit)
    return file


def _right_in(folder: Path, name: str) -> Source | None:
    try:
        return verify(folder, name)
    except WeightsError:
        return None


def verify(folder: Path, name: str) -> Source | None:
    """Read a checkpoint of the folder again and compare it with what came from the hub.

    Returns:
        Its source; None: there is nothing to compare it with.

    Raises:
        WeightsError: it is missing, or not what came.
    """
    path = checkpoint_in(folder, name)
    try:
        size, digest = path.stat().st_size, file_sha256(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {system_reason(error)}") from None
    source = source_in(folder, name)
    if source is not None and (size, digest) != (source.size, source.sha256):
        raise WeightsError(
            f"{path} is damaged: it has {size:,} bytes with sha256 {digest}, and {source.size:,} bytes with sha256 "
            f"{source.sha256} came from {source.repository}@{source.commit}; fetch {name} again"
        )
    return source
