"""Inputs behind http:// and https://."""

from __future__ import annotations

import email.utils
import logging
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx

from birefnet_batch.errors import FetchError, InputError
from birefnet_batch.refusals import one_line
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.facts import UNVERSIONED, SourceFacts, changed
from birefnet_batch.storage.http_client import http_client
from birefnet_batch.storage.remote import PassingError, Remote
from birefnet_batch.url_redaction import redact, redact_text

_MAY_PASS = frozenset((408, 425, 429, *range(500, 600)))
# By credentials, or by the address that asks.
_NOT_FOR_US = frozenset((401, 403, 407, 451))
# By what an answer tells its version, the surest first.
_VERSIONS = ("ETag", "Last-Modified")
# Servers name others too (aws-chunked, utf-8, binary) and mean that the content is as it is.
_PACKED = frozenset(("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"))


def _without_secrets(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact_text(record.getMessage()), ()
    return True


# httpx logs each request with its whole URL.
logging.getLogger("httpx").addFilter(_without_secrets)


class HttpSource(Remote):
    """A file behind a URL; a user name and password in it are sent as HTTP authentication."""

    def __init__(self, uri: str, settings: StorageSettings) -> None:
        self._uri = uri
        self._shown = redact(uri)
        self._client = http_client(self._shown, settings)

    def facts(self) -> SourceFacts:
        """See `Remote`. Asked with GET, for signed URLs allow nothing else."""
        with self._answer(0, 1) as answer:
            if answer.status_code == 416:
                return SourceFacts(0, f"size=0;{_named_version(answer)}", _versions(answer))
            ranges = answer.status_code == 206
            size = _whole_size(answer) if ranges else _declared_length(answer)
            return SourceFacts(size, f"size={size};{_named_version(answer)}", _versions(answer), ranges)

    def read(self, start: int, facts: SourceFacts) -> Generator[bytes]:
        """See `Remote`."""
        with self._answer(start if facts.ranges else 0, None) as answer:
            self._check(answer, start, facts)
            position = 0 if answer.status_code == 200 else start
            try:
                # As they come: of chunks of a size of ours, the last one would be lost with the connection.
                for chunk in answer.iter_raw():
                    kept = chunk[max(0, start - position) :]
                    position += len(chunk)
                    if kept:
                        yield kept
            except httpx.RemoteProtocolError:
                if facts.size is None or position >= facts.size:
                    raise
            if facts.size is not None and position < facts.size:
                raise PassingError(f"the server announced {facts.size} bytes and sent {position}")

    def close(self) -> None:
        """See `Remote`."""
        self._client.close()

    def _check(self, answer: httpx.Response, start: int, facts: SourceFacts) -> None:
        """Refuse another version, and an answer that is not what was asked for."""
        beyond = answer.status_code == 416
        size = _declared_length(answer) if answer.status_code == 200 else _whole_size(answer)
        same = _is_same(answer, facts.version)
        if same is False:
            raise changed(self._shown)
        if beyond or (facts.size is not None and size is not None and size != facts.size):
            later = f"fewer than {start + 1}" if size is None else size
            what = "its server" if same else "it changed while it was read, or its server"
            raise InputError(
                f"{self._shown} cannot be read: {what} is wrong about its length: {facts.size} bytes were announced, "
                f"then {later}; run it again when nothing writes to it, or fetch it by other means and give its path"
            )
        if answer.status_code == 206 and not _content_range(answer).startswith(f"bytes {start}-"):
            raise InputError(
                f"{self._shown} cannot be read: asked for the bytes from {start} on, its server gave "
                f"{_content_range(answer) or 'a part without a place'!r}"
            )

    @contextmanager
    def _answer(self, start: int, count: int | None) -> Iterator[httpx.Response]:
        """Ask for `count` bytes from `start` on, or for all; the body is not read yet."""
        headers = {}
        if start or count is not None:
            headers["Range"] = f"bytes={start}-{'' if count is None else start + count - 1}"
        with _transfer_errors(self._shown), self._client.stream("GET", self._uri, headers=headers) as answer:
            status = answer.status_code
            reason = f"the server answered {status} {answer.reason_phrase}".strip()
            if status in _MAY_PASS:
                raise PassingError(reason, _retry_after(answer))
            if status not in (200, 206, 416):
                kind = FetchError if status in _NOT_FOR_US else InputError
                raise kind(f"{self._shown} cannot be fetched: {reason}; check the URL and try again")
            packing = str(answer.headers.get("Content-Encoding", ""))
            # A page that says that there are no such bytes may be packed.
            if status != 416 and _PACKED & {name.strip().lower() for name in packing.split(",")}:
                raise InputError(
                    f"{self._shown} cannot be fetched: its server packs it (Content-Encoding: {packing[:80]}) although "
                    "it was asked not to; fetch it by other means and give its path"
                )
            yield answer


@contextmanager
def _transfer_errors(shown: str) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException:
        raise PassingError("the server did not answer in time (storage.timeout_s)") from None
    except httpx.RemoteProtocolError as error:
        what = "the connection ended before the whole file had come" if "closed" in str(error) else str(error)
        raise PassingError(what) from None
    except (httpx.NetworkError, httpx.ProxyError) as error:
        raise PassingError(redact_text(one_line(error)) or type(error).__name__) from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = redact_text(one_line(error)) or type(error).__name__
        raise InputError(f"{shown} cannot be fetched: {reason}; check the URL and try again") from None


def _named_version(answer: httpx.Response) -> str:
    for name in _VERSIONS:
        if answer.headers.get(name):
            return f"{name.lower()}={answer.headers[name]}"
    return UNVERSIONED


def _versions(answer: httpx.Response) -> str | None:
    """All that names the version, a line each."""
    lines = [f"{name}: {answer.headers[name]}" for name in _VERSIONS if answer.headers.get(name)]
    return "\n".join(lines) or None


def _is_same(answer: httpx.Response, versions: str | None) -> bool | None:
    """Whether an answer is of the version that `_versions` gave; None where they have nothing in common to tell by.

    Some servers name the version of whole files alone, or of parts alone, and of what they refuse none.
    """
    known = dict(line.split(": ", 1) for line in filter(None, (versions or "").split("\n")))
    both = next((name for name in _VERSIONS if name in known and answer.headers.get(name)), None)
    return None if both is None else bool(answer.headers[both] == known[both])


def _declared_length(answer: httpx.Response) -> int | None:
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _content_range(answer: httpx.Response) -> str:
    return str(answer.headers.get("Content-Range", ""))


def _whole_size(answer: httpx.Response) -> int | None:
    match = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d+)", _content_range(answer))
    return int(match.group(1)) if match else None


def _retry_after(answer: httpx.Response) -> float | None:
    text = answer.headers.get("Retry-After", "")
    if text.isdigit():
        return float(text)
    try:
        wait = (email.utils.parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return None
    return max(0.0, wait)
