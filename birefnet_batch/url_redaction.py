"""URLs without secrets, alone and in texts, for files and logs."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from birefnet_batch.uri_schemes import BUCKET_SCHEMES, scheme_of
from birefnet_batch.url_parameters import bucket_credential, shown_parameters, shown_path

# A data URI ends where no URL goes on, and the sentence around it with its own punctuation.
_URL_IN_TEXT = re.compile(
    r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+"
    r"|(?<![\w/.\\-])data:[\w/+.-]*;sha256=[0-9a-f]{16},\.\.\."
    r"|(?<![\w/.\\-])data:(?:[\w.+-]+/[\w.+-]+)?(?:;[^\s,'\"<>]*)?,[^\s'\"<>]*[^\s'\"<>:;,.)\]}]",
    re.IGNORECASE,
)
# How many URLs in parameters of URLs are looked into.
_DEEPEST = 8
# Like a path, but for how it begins: with a scheme without its slashes or its colon, or a user name and a password.
MISTYPED = re.compile(
    r"(?:https?|s3|gs|az|file)(?::(?!//)|[;,.]?//)|//(?=[^/]*:[^/]*@)"
    r"|(?=[^/:@\s]+:[^/@\s]+@[\w-]+(?:\.[\w-]+)+(?::\d+)?/)",
    re.IGNORECASE,
)
_SHOWN_DATA = re.compile(r"data:[\w/+.-]*;sha256=[0-9a-f]{16},\.\.\.", re.IGNORECASE)


def redact(uri: str) -> str:
    """The URI without user names, passwords, signatures, tokens and fragments; fit for files and logs."""
    return _redact(uri, 0)


def _redact(uri: str, depth: int) -> str:
    scheme = scheme_of(uri)
    if scheme == "data":
        if _SHOWN_DATA.fullmatch(uri):
            return uri
        # By digest: two inputs must not look alike, and none may be kept.
        head, comma, _ = uri.partition(",")
        kind = head.partition(";")[0][:80] if comma else "data:"
        return f"{kind};sha256={hashlib.sha256(uri.encode('utf-8', 'surrogatepass')).hexdigest()[:16]},..."
    if not scheme and (mistyped := MISTYPED.match(uri)):
        return f"{mistyped[0]}..."
    if not scheme or (scheme == "file" and "@" not in uri[len("file://") :].partition("/")[0]):
        return uri
    if scheme in ("file", *BUCKET_SCHEMES):
        # A key may hold any character, `?` and `#` too; but for what stands before the bucket, and credentials.
        rest = uri.partition("://")[2]
        bucket, slash, key = (rest.partition("?")[0] if bucket_credential(rest) else rest).partition("/")
        return f"{scheme}://{bucket.rpartition('@')[2]}{slash}{key}"
    if depth > _DEEPEST:
        return f"{scheme}://..."
    try:
        parts = urlsplit(uri)
        check_port(parts)
    except ValueError:
        return _shown_head(uri)
    host = parts.netloc.rpartition("@")[2]
    # Some servers have semicolons between parameters.
    pairs = parse_qsl(parts.query.replace(";", "&"), keep_blank_values=True)
    kept = shown_parameters([(name, _redact_text(value, depth + 1)) for name, value in pairs])
    return urlunsplit((parts.scheme, host, shown_path(parts.path), urlencode(kept), ""))


def _shown_head(uri: str) -> str:
    """Of a URL that has no readable host what stands before its parameters, if no user name can be in it."""
    head = re.split(r"[?#;]", uri, maxsplit=1)[0]
    # A full-width `@` or `?` parts a host from its user or parameters as far as a reader is concerned.
    if "@" in unicodedata.normalize("NFKC", uri) or re.search(r"[?#;=]", unicodedata.normalize("NFKC", head)):
        return f"{scheme_of(uri)}://..."
    return head


def redact_text(text: str) -> str:
    """The text with every URL in it redacted, for messages that come from libraries."""
    return _redact_text(text, 0)


def _redact_text(text: str, depth: int) -> str:
    return _URL_IN_TEXT.sub(lambda match: _redact(match.group(), depth), text)


def redact_value(text: str) -> str:
    """The same of a text that may be a URL as a whole, with letters in it that end one inside of a text."""
    stripped = text.strip()
    return redact_text(redact(stripped) if scheme_of(stripped) or MISTYPED.match(stripped) else text)


def check_port(parts: SplitResult) -> None:
    """Raise ValueError where what stands for host and port may be a user and what a letter left of the password."""
    _ = parts.port
    behind = re.split("[&;=]", parts.query, maxsplit=1)[0] + parts.fragment
    if not parts.path and "@" in unicodedata.normalize("NFKC", behind):
        raise ValueError
