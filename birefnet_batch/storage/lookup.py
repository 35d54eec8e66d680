"""What can be known of inputs without reading them: their facts, of one or of many at once."""

from __future__ import annotations

import glob
import logging
import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG

from birefnet_batch.errors import BirefnetBatchError, InputError
from birefnet_batch.refusals import named_reason
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.backoff import retried
from birefnet_batch.storage.data_source import data_facts, decode_data_uri
from birefnet_batch.storage.facts import SourceFacts
from birefnet_batch.storage.http_guard import check_scheme
from birefnet_batch.storage.options import check_version
from birefnet_batch.storage.remote import PassingError, Remote
from birefnet_batch.uri_schemes import BUCKET_SCHEMES, scheme_of
from birefnet_batch.uris import is_local, is_sequence, local_path
from birefnet_batch.url_redaction import redact

_WORTH_A_LISTING = 3
_DOWN = 8
_log = logging.getLogger(__name__)


def source_facts(uri: str, settings: StorageSettings) -> SourceFacts:
    """Size and fingerprint of an input, without reading it (a data URI is its own content).

    Raises:
        InputError: it is not there, does not answer, or may not be read here.
    """
    check_scheme(uri, settings)
    check_version(uri, settings)
    if is_local(uri):
        return local_facts(local_path(uri))
    if is_sequence(uri):
        from birefnet_batch.storage.sequence_source import sequence_facts

        return sequence_facts(local_path(uri), settings)
    if scheme_of(uri) == "data":
        return data_facts(decode_data_uri(uri, settings))
    remote = open_remote(uri, settings)
    try:
        return retried(remote.facts, redact(uri), settings.max_retries)
    finally:
        remote.close()


def many_source_facts(uris: Sequence[str], settings: StorageSettings, at_once: int) -> dict[str, SourceFacts]:
    """`source_facts` of many inputs; those that cannot be had are left out.

    Objects in the same folder of a bucket take one listing, other remote inputs a request each, several at once. This
    is a look: it asks no more than twice, and no server any more that failed so several times in a row.
    """
    settings = replace(settings, max_retries=min(settings.max_retries, 1))
    groups: list[list[str]] = []
    for (scheme, _), group in _by_folder(uris).items():
        if scheme not in BUCKET_SCHEMES or len(group) < _WORTH_A_LISTING or scheme not in settings.allow_schemes:
            groups += [[uri] for uri in group]
        else:
            groups.append(group)

    failed: Counter[str] = Counter()

    def answer(group: list[str]) -> dict[str, SourceFacts]:
        server = "/".join(group[0].split("/", 3)[:3])
        if failed[server] >= _DOWN:
            return {}
        try:
            facts = _facts_at_once(group, settings)
        except BirefnetBatchError as error:
            # Given up after tries; others are the server's answer about this one input or folder.
            if isinstance(reason := error.__context__, PassingError):
                failed[server] = count = failed[server] + 1
                if count == _DOWN:
                    _log.warning(
                        "%s: %s; whether its inputs are the same as before is asked when each one's turn comes",
                        redact(server),
                        reason,
                    )
            return {}
        failed[server] = 0
        return facts

    found: dict[str, SourceFacts] = {}
    remote = []
    for group in groups:
        if is_local(group[0]):
            found |= answer(group)
        else:
            remote.append(group)
    if len(remote) > at_once:
        _log.info("asking whether %d inputs that were done before are the same as then", sum(map(len, remote)))
    with ThreadPoolExecutor(at_once, thread_name_prefix="source-facts") as pool:
        for facts in pool.map(answer, remote):
            found |= facts
    return found


def _facts_at_once(group: Sequence[str], settings: StorageSettings) -> dict[str, SourceFacts]:
    if len(group) == 1:
        return {group[0]: source_facts(group[0], settings)}
    from birefnet_batch.storage.bucket_source import folder_facts

    return folder_facts(group, settings)


def _by_folder(uris: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for uri in uris:
        scheme = scheme_of(uri)
        groups[scheme, uri.rpartition("/")[0] if scheme in BUCKET_SCHEMES else ""].append(uri)
    return groups


def open_remote(uri: str, settings: StorageSettings) -> Remote:
    """The remote input behind a URL."""
    if scheme_of(uri) in BUCKET_SCHEMES:
        from birefnet_batch.storage.bucket_source import BucketSource

        return BucketSource(uri, settings)
    from birefnet_batch.storage.http_source import HttpSource

    return HttpSource(uri, settings)


def local_facts(path: Path) -> SourceFacts:
    """Of a file on this machine's disk.

    Raises:
        InputError: it is not there, is no regular file, or cannot be read.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        hint = _for_pattern(path) if glob.has_magic(str(path)) else "check the path"
        raise InputError(f"{path} does not exist; {hint}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {named_reason(error)}") from None
    if path.is_dir():
        raise InputError(f"{path} is a folder; {_for_folder(path)}")
    if not S_ISREG(stat.st_mode):
        raise InputError(f"{path} is no regular file; give a video file on disk")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read: permission denied for this user")
    return SourceFacts(stat.st_size, f"size={stat.st_size};mtime_ns={stat.st_mtime_ns}")


def _for_pattern(path: Path) -> str:
    return (
        f"check the path, or, if it is a pattern, give it as {shlex.quote(f'manifest={path}')}, with the quotes: an "
        "entry of a manifest and request.video_url name one video"
    )


def _for_folder(path: Path) -> str:
    from birefnet_batch.storage.sequence_source import numbered_images

    pattern = numbered_images(path) if os.access(path, os.R_OK) else None
    if pattern is not None:
        return f"its images are one video as {path / pattern}"
    return f"give manifest={path} to run every video in it"
