"""Names of inputs: what a user wrote -> a canonical URI, and the path behind it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from birefnet_batch.errors import BirefnetBatchError, InputError
from birefnet_batch.uri_schemes import BUCKET_SCHEMES, HTTP_SCHEMES, scheme_of
from birefnet_batch.url_parameters import bucket_credential
from birefnet_batch.url_redaction import MISTYPED, check_port, redact

SEQUENCE_NUMBER = re.compile(r"%(?:0[1-9]\d?)?d")
"""The place of a frame's number in the name of an image sequence, as printf and FFmpeg have it."""
# Characters that a path keeps in a URI; and URIs that are their own canonical form, as a manifest of 100,000 has them.
_PLAIN = "~:@!$&'()*+,;=-._"
_PLAIN_FILE = re.compile(rf"file://(?:/(?!\.{{1,2}}(?:/|$))[A-Za-z0-9{re.escape(_PLAIN)}]+)+")


def canonical_uri(url: str, base: Path) -> str:
    """The absolute URI of a video: `file:///...` for paths (relative ones below `base`), URLs as they are.

    Raises:
        InputError: the scheme is not one that this version reads, a URL has no host that can be read, a bucket's URL
            has credentials, or half of a character is in it.
    """
    try:
        os.fsencode(url)
    except UnicodeEncodeError:
        raise InputError(
            f"{redact(url)!a} holds half of a character (a surrogate), which no path or URL has; check what wrote it"
        ) from None
    scheme = scheme_of(url)
    if scheme in BUCKET_SCHEMES:
        bucket_path(url)
    if scheme in HTTP_SCHEMES:
        _check_host(url)
    if scheme in (*HTTP_SCHEMES, *BUCKET_SCHEMES, "data"):
        return url
    if scheme == "file":
        return url if _PLAIN_FILE.fullmatch(url) else _file_uri(local_path(url))
    if scheme:
        raise InputError(
            f"{redact(url)} has the scheme {scheme!r}; give a path, a file://, http://, https://, s3://, gs:// or "
            "az:// URL, or a data URI"
        )
    if "://" in url:
        # Not repeated: what stands around a pasted URL hides where its secrets are.
        raise InputError(
            "a text with :// in it that does not begin with a scheme is neither a URL nor a path; give the URL alone, "
            "without quotes, brackets or spaces around it"
        )
    check_path(url)
    return _file_uri(os.path.join(base, os.path.expanduser(url)))  # noqa: PTH111, PTH118  100,000 of them


def check_path(text: str, error: type[BirefnetBatchError] = InputError) -> None:
    """Make sure that what has no scheme is a path, and not a URL with a slip of the pen in it.

    Raises:
        BirefnetBatchError: of the given kind: it begins like a URL.
    """
    if MISTYPED.match(text):
        raise error(
            f"{redact(text)} is neither a URL nor a path: a URL begins with its scheme, a colon and two slashes (file: "
            "has three), and a path that begins so takes ./ in front"
        )


def _check_host(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        # The library's own words repeat user names and passwords.
        raise InputError(
            f"{redact(url)} is no URL that can be read: its host has a bracket without its other one, an address in "
            "brackets that is none, or a letter that stands for a separator; check how it was copied"
        ) from None
    try:
        check_port(parts)
    except ValueError:
        raise InputError(
            f"{redact(url)} has a port that is no number, or an @ behind its host; in a user name and a password / is "
            "written as %2F, ? as %3F, # as %23 and @ as %40"
        ) from None
    if not host:
        raise InputError(f"{redact(url)} names no host; give {scheme_of(url)}://HOST/PATH, or a path without a scheme")


def bucket_path(uri: str, error: type[BirefnetBatchError] = InputError) -> str:
    """The bucket and the path of a bucket's URL, `bucket/folder/name`.

    Raises:
        BirefnetBatchError: of the given kind: a user name, a password or a signature is in it, which libraries would
            repeat.
    """
    path = uri.partition("://")[2]
    if "@" in path.partition("/")[0]:
        raise error(
            f"{redact(uri)} was given with a user name or a password before the bucket, which is not read; give "
            "credentials as the cloud's own tools take them"
        )
    if found := bucket_credential(path):
        kind, name = found
        scheme = scheme_of(uri)
        signed = "give the signed URL as it was made, with https://, or " if kind == "signature" else ""
        raise error(
            f"{redact(uri)} was given with a {kind} ({name}=), which is not read with {scheme}://; {signed}leave its "
            "parameters out and give credentials as the cloud's own tools take them, or with "
            f"storage.options.{scheme}"
        )
    return path


def user_path(text: str | Path) -> Path:
    """The path that a user wrote, as a file:// URI too, with a home folder for `~` and `~name`.

    As in a shell, a name that nobody has means itself.

    Raises:
        InputError: the URI names a host.
    """
    if scheme_of(str(text)) == "file":
        return local_path(str(text))
    return Path(os.path.expanduser(text))  # noqa: PTH111  Path.expanduser raises where there is no such user


def local_path(uri: str) -> Path:
    """The path behind a `file://` URI.

    Raises:
        InputError: it names a host.
    """
    return Path(local_name(uri))


def local_name(uri: str) -> str:
    """`local_path` as text, which takes a tenth of the time.

    Raises:
        InputError: it names a host.
    """
    if _PLAIN_FILE.fullmatch(uri):
        return uri.removeprefix("file://")
    host, slash, path = uri[len("file://") :].partition("/")
    if host not in ("", "localhost"):
        raise InputError(
            f"{redact(uri)} names the host {host.rpartition('@')[2]!r}; a file:// URI needs three slashes: file:///path"
        )
    return unquote(slash + path, errors="surrogateescape")


def is_local(uri: str) -> bool:
    """Whether the canonical URI names one file on this machine's disk."""
    return scheme_of(uri) == "file" and not is_sequence(uri)


def is_sequence(uri: str) -> bool:
    """Whether the canonical URI names numbered images on this machine's disk, such as `.../f_%04d.png`."""
    if "%25" not in uri or scheme_of(uri) != "file":
        return False
    path = local_path(uri)
    # Path.exists raises where a folder may not be entered or a name is too long, which who reads the images says.
    return len(SEQUENCE_NUMBER.findall(path.name)) == 1 and not os.path.exists(path)  # noqa: PTH110


def _file_uri(path: str | Path) -> str:
    # Not Path.resolve: a symbolic link keeps its own name, and a missing file is reported when it is opened.
    absolute = os.path.abspath(path)  # noqa: PTH100  pathlib has nothing that removes ".." without resolving links
    return "file://" + quote(os.fsencode(absolute), safe=f"/{_PLAIN}")
