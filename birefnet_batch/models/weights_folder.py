"""A folder of checkpoints for machines without a network: <folder>/<short name>/model.safetensors, and its source."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from birefnet_batch.digests import file_sha256, known_sha256
from birefnet_batch.errors import WeightsError
from birefnet_batch.models.hub import FILE_NAME, HubError, fetch_to_file, look_up
from birefnet_batch.models.spec import hub_name

_SOURCE = "source.json"


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


def checkpoint_in(folder: Path, name: str) -> Path:
    """Where the checkpoint of a model (its short name) is or would be."""
    return folder / name / FILE_NAME


def names_in(folder: Path) -> list[str]:
    """The short names of the models that a folder holds."""
    return sorted(path.parent.name for path in folder.glob(f"*/{FILE_NAME}"))


def source_in(folder: Path, name: str) -> Source | None:
    """What the folder says of a checkpoint; None: a user put it there without a word.

    Raises:
        WeightsError: it says something that cannot be read.
    """
    path = folder / name / _SOURCE
    try:
        return Source(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); fetch {name} again") from None


def fetch(folder: Path, name: str, repository: str, revision: str | None) -> tuple[Source, bool]:
    """Make the folder hold a checkpoint of the hub.

    Args:
        folder: the folder, made if need be.
        name: the model's short name.
        repository: `owner/name` on the hub.
        revision: a branch, a tag or a commit; None is the main branch.

    Returns:
        What is there now, and whether it was fetched: it may have been there.

    Raises:
        WeightsError: it cannot be had or written.
    """
    target = checkpoint_in(folder, name)
    try:
        file = look_up(repository, revision)
        new = fetch_to_file(file, target)
        source = Source(repository, revision or "main", file.commit, target.stat().st_size, known_sha256(target))
        unfinished = target.with_name(f"{_SOURCE}.incomplete")
        unfinished.write_text(json.dumps(asdict(source), indent=2) + "\n", "utf-8")
        unfinished.replace(target.with_name(_SOURCE))
    except HubError as error:
        raise WeightsError(f"The weights of {name} ({hub_name(repository, revision)}) cannot be had: {error}") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WeightsError(f"The weights of {name} cannot be written to {target.parent}: {reason}") from None
    return source, new


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
        raise WeightsError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    source = source_in(folder, name)
    if source is not None and (size, digest) != (source.size, source.sha256):
        raise WeightsError(
            f"{path} is damaged: it has {size:,} bytes with sha256 {digest}, and {source.size:,} bytes with sha256 "
            f"{source.sha256} came from {source.repository}@{source.commit}; fetch {name} again"
        )
    return source
