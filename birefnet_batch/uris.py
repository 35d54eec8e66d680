"""Names of inputs: what a user wrote -> a canonical URI, and the same without secrets for files and logs."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from birefnet_batch.errors import BirefnetBatchError, InputError

HTTP_SCHEMES = ("http", "https")
BUCKET_SCHEMES = ("s3", "gs", "az")
SCHEMES = ("file", *HTTP_SCHEMES, *BUCKET_SCHEMES, "data")
SEQUENCE_NUMBER = re.compile(r"%(?:0[1-9]\d?)?d")
"""The place of a frame's number in the name of an image sequence, as printf and FFmpeg have it."""
_SECRET_PARAMETER = re.compile(
    r"sig(nature)?$|token|secret|passw|pwd|credential|auth|api[-_]?key|access[-_]?key|key[-_]?pair|^key$"
    r"|expires?$|policy|hmac|jwt|session|bearer|^x-(amz|goog|ms|oss|cos)-|googleaccessid|awsaccesskeyid"
    r"|(^|[-_.])(pass|pw|pin|otp|sas|login|user|username|sign|sid|sess|sessid|phpsessid|jsessionid|ak|rlkey)$"
    r"|(^|[-_.])(app|share|resource)key$|(^|[-_.])(cookie|ticket|psw|nonce)$"
    r"|private|^hdn[a-z]+$",
    re.IGNORECASE,
)
# What looks like a token whatever it is called, but for names of things: digits among letters of both cases, long
# hexadecimal numbers, JSON web tokens, and signed lists of Akamai's kind.
_TOKEN = re.compile(
    r"(?=.*[A-Z])(?=.*[a-z])(?=.*\d)[\w+/=~-]{20,}|[0-9a-f]{24,}|[0-9A-F]{24,}|eyJ[\w.-]{16,}"
    r"|.*(hmac|sig|signature|token|password)=.*"
)
_THING = re.compile(r"(^|[-_.])(id|uid|uuid|guid|v|video|asset|clip|file|filename|name|path|key)$", re.IGNORECASE)
# Keys of Azure's functions; a short code names a country or a clip.
_SECRET_CODE = re.compile(r"(^|[-_.])code$", re.IGNORECASE)
_LEAST_SECRET_CODE = 16
_PATH_PARAMETER = re.compile(r";([^/;=]+)=([^/;]*)")
# Parameters of an Azure shared access signature; they mean nothing without its `sig`.
_AZURE_SAS = frozenset("sv ss srt sp se st spr sr si skoid sktid skt ske sks skv sdd sip".split())
_URL_IN_TEXT = re.compile(
    r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+|\bdata:[\w/+.;=-]*;(?:base64|sha256=\w+),[\w+/=%.-]*", re.IGNORECASE
)
# Characters that a path keeps in a URI; and URIs that are their own canonical form, as a manifest of 100,000 has them.
_PLAIN = "~:@!$&'()*+,;=-._"
_PLAIN_FILE = re.compile(rf"file://(?:/(?!\.{{1,2}}(?:/|$))[A-Za-z0-9{re.escape(_PLAIN)}]+)+")
_SHOWN_DATA = re.compile(r"data:[\w/+.-]*;sha256=[0-9a-f]{16},\.\.\.")


def scheme_of(url: str) -> str:
    """The lower-case URI scheme, or an empty string for a path (`C:\\...` and `a:b` are paths)."""
    match = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]+)://", url)
    if match:
        return match.group(1).lower()
    return "data" if url[:5].lower() == "data:" else ""


def redact(uri: str) -> str:
    """The URI without user names, passwords, signatures, tokens and fragments; fit for files and logs."""
    scheme = scheme_of(uri)
    if scheme == "data":
        if _SHOWN_DATA.fullmatch(uri):
            return uri
        # By digest: two inputs must not look alike, and none may be kept.
        kind = uri.partition(",")[0].partition(";")[0][:80]
        return f"{kind};sha256={hashlib.sha256(uri.encode('utf-8', 'surrogatepass')).hexdigest()[:16]},..."
    if not scheme or scheme == "file":
        return uri
    if scheme in BUCKET_SCHEMES:
        # A key may hold any character, `?` and `#` too; only what stands before the bucket can be secret.
        bucket, slash, key = uri.partition("://")[2].partition("/")
        return f"{scheme}://{bucket.rpartition('@')[2]}{slash}{key}"
    try:
        parts = urlsplit(uri)
        host = parts.netloc.rpartition("@")[2]
        # Some servers have semicolons between parameters, and parameters in the path.
        pairs = parse_qsl(parts.query.replace(";", "&"), keep_blank_values=True)
    except ValueError:
        return f"{scheme}://..."
    signed = any(name.lower() in ("sig", "signature") for name, _ in pairs)
    kept = [
        (name, _shown_value(name, redact_text(value)))
        for name, value in pairs
        if not (_is_secret(name, value) or (signed and name.lower() in _AZURE_SAS))
    ]
    path = _PATH_PARAMETER.sub(lambda found: "" if _is_secret(found[1], found[2]) else found[0], parts.path)
    return urlunsplit((parts.scheme, host, path, urlencode(kept), ""))


def _is_secret(name: str, value: str) -> bool:
    secret_code = _SECRET_CODE.search(name) and len(value) >= _LEAST_SECRET_CODE
    return bool(_SECRET_PARAMETER.search(name) or secret_code)


def _shown_value(name: str, value: str) -> str:
    if _THING.search(name) or not _TOKEN.fullmatch(value):
        return value
    # It may name the video after all: two that differ in it must not look alike.
    return f"sha256-{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def redact_text(text: str) -> str:
    """The text with every URL in it redacted, for messages that come from libraries."""
    return _URL_IN_TEXT.sub(lambda match: redact(match.group()), text)


def canonical_uri(url: str, base: Path) -> str:
    """The absolute URI of a video: `file:///...` for paths (relative ones below `base`), URLs as they are.

    Raises:
        InputError: the scheme is not one that this version reads, or a bucket's URL has credentials.
    """
    scheme = scheme_of(url)
    if scheme in BUCKET_SCHEMES:
        bucket_path(url)
    if scheme in (*HTTP_SCHEMES, *BUCKET_SCHEMES, "data"):
        return url
    if scheme == "file":
        return url if _PLAIN_FILE.fullmatch(url) else _file_uri(local_path(url))
    if scheme:
        raise InputError(
            f"{redact(url)} has the scheme {scheme!r}; give a path, a file://, http://, https://, s3://, gs:// or "
            "az:// URL, or a data URI"
        )
    return _file_uri(os.path.join(base, os.path.expanduser(url)))  # noqa: PTH111, PTH118  100,000 of them


def bucket_path(uri: str, error: type[BirefnetBatchError] = InputError) -> str:
    """The bucket and the path of a bucket's URL, `bucket/folder/name`.

    Raises:
        BirefnetBatchError: of the given kind: a user name or a password is in it, which libraries would repeat.
    """
    path = uri.partition("://")[2]
    if "@" in path.partition("/")[0]:
        raise error(
            f"{redact(uri)} was given with a user name or a password before the bucket, which is not read; give "
            "credentials as the cloud's own tools take them"
        )
    return path


def user_path(text: str | Path) -> Path:
    """The path with a home folder for `~` and `~name`; as in a shell, a name that nobody has means itself."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  Path.expanduser raises where there is no such user


def local_path(uri: str) -> Path:
    """The path behind a `file://` URI."""
    if _PLAIN_FILE.fullmatch(uri):
        return Path(uri.removeprefix("file://"))
    parts = urlsplit(uri.replace("?", "%3F").replace("#", "%23"))
    if parts.netloc not in ("", "localhost"):
        raise InputError(f"{uri} names the host {parts.netloc!r}; a file:// URI needs three slashes: file:///path")
    return Path(unquote(parts.path, errors="surrogateescape"))


def is_local(uri: str) -> bool:
    """Whether the canonical URI names one file on this machine's disk."""
    return scheme_of(uri) == "file" and not is_sequence(uri)


def is_sequence(uri: str) -> bool:
    """Whether the canonical URI names numbered images on this machine's disk, such as `.../f_%04d.png`."""
    if "%25" not in uri or scheme_of(uri) != "file":
        return False
    path = local_path(uri)
    return len(SEQUENCE_NUMBER.findall(path.name)) == 1 and not path.exists()


def _file_uri(path: str | Path) -> str:
    # Not Path.resolve: a symbolic link keeps its own name, and a missing file is reported when it is opened.
    absolute = os.path.abspath(path)  # noqa: PTH100  pathlib has nothing that removes ".." without resolving links
    return "file://" + quote(os.fsencode(absolute), safe=f"/{_PLAIN}")


def stem_of(uri: str, limit: int = 48) -> str:
    """A short, safe, lower-case name for the files of a job: letters, digits, dots, dashes, underscores."""
    scheme = scheme_of(uri)
    if scheme == "data":
        return "video"
    path = Path(unquote(urlsplit(uri).path, errors="replace") if scheme in ("file", *HTTP_SCHEMES) else uri)
    stem = path.stem
    if scheme == "file" and SEQUENCE_NUMBER.search(stem):
        # An image sequence has the name that is left without its numbers, or its folder's.
        stem = SEQUENCE_NUMBER.sub("", stem).strip("-._ ") or path.parent.name
    name = re.sub(r"[^a-zA-Z0-9._-]+", "-", stem).strip("-._").lower()
    return name[:limit].rstrip("-._") or "video"
