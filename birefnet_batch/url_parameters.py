"""Which parameters of a URL are secret, which may be, and what is shown of each in files and logs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import unquote_plus

from birefnet_batch.url_signatures import signing_parameters

# Surely secret, or of no meaning without a secret: left out, so that a URL that is signed again names the same video.
_SECRET = re.compile(
    r"sig(nature)?$|token|secret|passw|pwd|credential|auth(?!ors?([-_.]|$))|api[-_]?key|access[-_]?key|key[-_]?pair"
    r"|expires?$|policy|hmac|jwt|session[-_]?key|jsessionid|phpsessid|aspsession|asp\.net_session|bearer|^x-(amz|goog|ms|oss|cos)-"
    r"|googleaccessid|awsaccesskeyid|(^|[-_.])(app|share|resource)key$|private|^hdn[a-z]+$"
    r"|(^|[-_.])(pass|pw|pin|otp|sas|rlkey|cookie|ticket|psw|psk|nonce|csrf|xsrf)$|passphrase"
    r"|^q-(sign|key)-time$|^(ws|tx|hw)time$",
    re.IGNORECASE,
)
# Secret, or the name of the video or its owner: two that differ in it must not look alike, so a digest stands for it.
_PERHAPS_SECRET = re.compile(
    r"^key$|session|(^|[-_.])(login|user|username|sign|sid|sess|sessid|ak|cred|mac|tk)$|(^|[-_.])authors?([-_.]|$)",
    re.IGNORECASE,
)
# What looks like a token whatever it is called, but for names of things: digits among letters of both cases, long
# hexadecimal numbers, JSON web tokens, and signed lists of Akamai's kind.
_TOKEN = re.compile(
    r"(?=.*[A-Z])(?=.*[a-z])(?=.*\d)[\w+/=~-]{20,}|[0-9a-f]{24,}|[0-9A-F]{24,}|eyJ[\w.-]{16,}"
    r"|.*(hmac|sig|signature|token|password)=.*"
)
_THING = re.compile(r"(^|[-_.])(id|uid|uuid|guid|v|video|asset|clip|file|filename|name|path|key)$", re.IGNORECASE)
# Keys of Azure's functions, and of Vimeo's unlisted videos; a short code names a country or a clip, and h a height.
_CODE = re.compile(r"(.*[-_.])?code=.{16,}|h=(?=.*[a-f])[0-9a-f]{8,}", re.IGNORECASE | re.DOTALL)
# What gives access to a bucket. A key may hold what looks like parameters too, so that these are the names that clouds
# and their libraries have, and no more.
_SIGNATURE = re.compile(r"(sig|signature|x-(amz|goog)-signature)=.*", re.IGNORECASE | re.DOTALL)
_CREDENTIAL = re.compile(
    r"(x-(amz|goog)-\w[\w-]*|awsaccesskeyid|googleaccessid|secret|(secret|private|account|api|sas|shared)[-_]?key|authorization"
    r"|(aws[-_]?)?(secret[-_]?)?access[-_]?key([-_]?id)?|((\w+[-_])?(access|auth|session|security|sas|id|refresh|bearer)[-_]?)?token"
    r"|(\w+[-_])?(secret|password|passwd|pwd|credentials?)|connection[-_]?string)=.+",
    re.IGNORECASE | re.DOTALL,
)
_IN_PATH = re.compile(r";([^/;=]+)=([^/;]*)")
_WEB_TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*")
_DIGEST = re.compile(r"sha256-[0-9a-f]{12}")


def shown_parameters(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The parameters of a query as they may be kept: without secrets, and with digests of what may be one."""
    signing = signing_parameters(pairs)
    return [
        (name, shown)
        for name, value in pairs
        if (name, value) not in signing and (shown := _shown(name, value)) is not None
    ]


def bucket_credential(rest: str) -> tuple[str, str] | None:
    """What gives access in a bucket's URL, a `signature` or a `credential`, and its name; None where nothing does."""
    words = re.split(r"[?&]", rest)[1:]
    for kind, pattern in (("signature", _SIGNATURE), ("credential", _CREDENTIAL)):
        for word in words:
            if pattern.fullmatch(unquote_plus(word)):
                return kind, word.partition("=")[0]
    return None


def shown_path(path: str) -> str:
    """A URL's path as it may be kept; some servers have parameters in it, after semicolons, or a JSON web token."""
    return _WEB_TOKEN.sub(lambda found: _digest(found[0]), _IN_PATH.sub(_in_path, path))


def _in_path(found: re.Match[str]) -> str:
    if _SECRET.search(found[1]):
        return ""
    return f";{found[1]}={_digest(found[2])}" if _may_be_secret(found[1], found[2]) else found[0]


def _shown(name: str, value: str) -> str | None:
    if _SECRET.search(name):
        return None
    if _may_be_secret(name, value) or (_TOKEN.fullmatch(value) and not _THING.search(name)):
        return _digest(value)
    return value


def _may_be_secret(name: str, value: str) -> bool:
    return bool(_PERHAPS_SECRET.search(name) or _CODE.fullmatch(f"{name}={value}"))


def _digest(value: str) -> str:
    # What is shown already stays as it is.
    if _DIGEST.fullmatch(value):
        return value
    return f"sha256-{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
