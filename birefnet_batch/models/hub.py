"""Checkpoints on the Hugging Face hub: downloads that resume, are verified, and happen once a machine.

huggingface_hub finds the file, speaks HTTP and owns the cache. What it leaves out is done here: it (1.33) drops what an
interrupted process had, and it compares sizes, not digests.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from birefnet_batch.digests import file_sha256
from birefnet_batch.models.download_log import bar_or_lines
from birefnet_batch.models.hub_errors import HubError, host_of, library_reason, refusals
from birefnet_batch.url_redaction import redact

FILE_NAME = "model.safetensors"
_ATTEMPTS = 2
_PARTIAL = re.compile(r"[0-9a-f]{40,64}\.incomplete")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubFile:
    """One version of a repository's checkpoint."""

    repository: str
    commit: str
    etag: str
    """Its name in the hub's cache: the sha256 of a file in large-file storage, else git's sha1 of it."""
    size: int | None
    url: str | None
    """None: only the hub's cache on this machine is known to have it."""

    def matches(self, path: Path) -> bool:
        """Whether a file has this version's content, as far as the hub says what that is.

        Raises:
            OSError: it cannot be read.
        """
        if self.size is not None and path.stat().st_size != self.size:
            return False
        if re.fullmatch(r"[0-9a-f]{64}", self.etag):
            return file_sha256(path) == self.etag
        if re.fullmatch(r"[0-9a-f]{40}", self.etag):
            with path.open("rb") as file:
                digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
                while block := file.read(1 << 20):
                    digest.update(block)
            return digest.hexdigest() == self.etag
        return True


def look_up(repository: str, revision: str | None) -> HubFile:
    """Ask the hub which file a repository's revision has; None is its main branch.

    Raises:
        NoAnswerError: HF_HUB_OFFLINE is set, or the hub does not answer.
        HubError: there is none.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    with refusals(repository, revision):
        url = hf_hub_url(repository, FILE_NAME, revision=revision)
        found = get_hf_file_metadata(url)
        if found.commit_hash is None or found.etag is None:
            # It may be relative, and signed.
            where = redact(urljoin(url, found.location))
            raise HubError(f"the answer for {where} is not a hub's; check HF_ENDPOINT, firewall and proxy")
        url = hf_hub_url(repository, FILE_NAME, revision=found.commit_hash)
        return HubFile(repository, found.commit_hash, found.etag, found.size, url)


def look_up_cached(repository: str, revision: str | None) -> HubFile | None:
    """Which file of a repository's revision the hub's cache has; the hub is not asked."""
    path = cached(repository, revision)
    if path is None:
        return None
    # snapshots/<commit>/model.safetensors, a link to blobs/<etag>.
    return HubFile(repository, path.parent.name, path.resolve().name, path.stat().st_size, None)


def cached(repository: str, revision: str | None) -> Path | None:
    """What the hub's cache holds: a run repeats with the same weights until the user asks for a newer revision."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, FILE_NAME, revision=revision)
    return Path(found) if isinstance(found, str) else None


def is_damaged(path: Path, sha256: str) -> bool:
    """Whether a file of the hub's cache is not what its name there says."""
    name = path.resolve().name
    return re.fullmatch(r"[0-9a-f]{64}", name) is not None and name != sha256


def fetch_to_cache(repository: str, revision: str | None) -> Path:
    """Download a checkpoint into the hub's cache, unless it is there.

    Raises:
        NoAnswerError: the hub was not asked, or did not answer.
        HubError: it cannot be had.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.file_download import repo_folder_name

    file = look_up(repository, revision)
    assert file.url is not None
    cache, name = Path(constants.HF_HUB_CACHE), repo_folder_name(repo_id=repository, repo_type="model")
    blob = cache / name / "blobs" / file.etag
    with refusals(repository, revision):
        # The library's own lock, so that its other users wait too.
        with _alone(cache / ".locks" / name / f"{file.etag}.lock", file):
            if not blob.exists():
                partial = blob.with_name(f"{file.etag}.birefnet.incomplete")
                _download(file, file.url, partial)
                partial.replace(blob)
        return Path(hf_hub_download(repository, FILE_NAME, revision=revision))


def fetch_to_file(file: HubFile, target: Path, judge: Callable[[Path], object] | None = None) -> bool:
    """Download a checkpoint to a file of the caller's choice, out of the hub's cache where it is there.

    Args:
        file: which.
        target: the file.
        judge: told of what came before it takes the place of another file; what it raises is raised, and the other
            file stays.

    Returns:
        Whether the file was new.

    Raises:
        HubError: it cannot be had.
    """
    with refusals(file.repository, file.commit):
        with _alone(target.with_name(".lock"), file):
            if target.exists() and file.matches(target):
                return False
            partial = target.with_name(f"{file.etag}.incomplete")
            known = cached(file.repository, file.commit)
            if known is not None and file.matches(known):
                _copy(known, partial)
            elif file.url is not None:
                _download(file, file.url, partial)
            else:
                where = "gone" if known is None else f"damaged; delete {known.resolve()}, then fetch it from the hub"
                raise HubError(f"what was in the hub's cache on this machine is {where}")
            if judge is not None and target.exists():
                try:
                    judge(partial)
                except Exception:
                    partial.unlink()
                    raise
            partial.replace(target)
            for other in target.parent.glob("*.incomplete"):
                # Begun of another version, which nobody goes on with.
                if _PARTIAL.fullmatch(other.name):
                    other.unlink(missing_ok=True)
        return True


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as given, target.open("wb") as output:
        shutil.copyfileobj(given, output, 1 << 20)
        output.flush()
        os.fsync(output.fileno())


def _download(file: HubFile, url: str, partial: Path) -> None:
    """Get the rest of a file: `partial` keeps what came, and is whole and right in the end."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    partial.parent.mkdir(parents=True, exist_ok=True)
    for left in reversed(range(_ATTEMPTS)):
        try:
            _transfer(file, url, partial)
        except HfHubHTTPError:
            raise
        except (httpx.HTTPError, OSError) as error:
            whole = f" of {file.size:,}" if file.size is not None else ""
            kept = partial.stat().st_size if partial.exists() else 0
            host = host_of(error)
            reason = f"{host}: {library_reason(error)}" if host is not None else library_reason(error)
            raise HubError(
                f"the download broke off ({reason}); {kept:,}{whole} bytes are kept in {partial}, and the "
                "same command goes on from there"
            ) from None
        if file.matches(partial):
            return
        partial.unlink()
        if left:
            _log.warning("what came of %s is not what the hub says it is; it is fetched again", file.repository)
    raise HubError(
        f"what comes from {redact(url)} is not what the hub says it is (etag {file.etag}); a proxy may change it"
    )


def _transfer(file: HubFile, url: str, partial: Path) -> None:
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    with partial.open("ab") as output:
        if file.size is None or output.tell() > file.size:
            output.truncate(0)
        try:
            http_get(
                url,
                output,
                resume_size=output.tell(),
                headers=build_hf_headers(),
                expected_size=file.size,
                displayed_filename=f"{file.repository}/{FILE_NAME}",
                tqdm_class=bar_or_lines(f"{file.repository}@{file.commit}"),
            )
        except HfHubHTTPError as error:
            if error.response.status_code != 416:
                raise
        output.flush()
        os.fsync(output.fileno())


@contextmanager
def _alone(lock: Path, file: HubFile) -> Iterator[None]:
    """Of several processes one goes on and the others wait for it."""
    from filelock import Timeout
    from huggingface_hub.utils._fixes import WeakFileLock

    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with WeakFileLock(lock, timeout=0.1):
            yield
        return
    except Timeout:
        _log.info("waiting for another process that fetches %s", file.repository)
    with WeakFileLock(lock):
        yield
