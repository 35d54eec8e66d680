"""Which parameters of a URL sign it, or say until when, told by the company that they keep.

Alone each may be what tells one video from another: a file's `hash`, a clip's end `e`. A URL that is signed again has
others, and names the same video.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

# A shared access signature's; they mean nothing without its `sig`.
_AZURE = frozenset("sv ss srt sp se st spr sr si skoid sktid skt ske sks skv sdd sip".split())
# Time and signature in one.
_CLOUDFLARE = re.compile(r"verify=\d{10}-[\w+ /=-]{20,}")
_DISCORD = tuple(map(re.compile, (r"ex=[0-9a-f]{8}", r"is=[0-9a-f]{8}", r"hm=[0-9a-f]{32,}")))
_SIGNATURE = re.compile(r"(.*[-_])?(sig|signature|sign|hmac)=.+|token=[^:]+:.+", re.IGNORECASE | re.DOTALL)
# Perhaps that of a session, beside which `e` may be the end of a clip.
_TOKEN = re.compile(r"(.*[-_])?token=.{8,}", re.IGNORECASE | re.DOTALL)
# As for nginx's secure_link; beside a signature, and without a time, the name or the digest of the video.
_HASH = re.compile(r"(md5|hash|st|secure|secure_link|digest)=[\w+ /=-]{16,}|[hs]=[0-9a-f]{32,}", re.IGNORECASE)
_UNTIL = re.compile(r"(expires?|expiry|expiration|exp|until|deadline)=\d{10}(\d{3})?", re.IGNORECASE)
_UNTIL_OR_END = re.compile(rf"{_UNTIL.pattern}|e=\d{{10}}", re.IGNORECASE)
_UNTIL_OR_START = re.compile(rf"{_UNTIL_OR_END.pattern}|st=\d{{10}}", re.IGNORECASE)


def signing_parameters(pairs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of a query's parameters that sign it, or say until when; names and values as they are given."""
    words = {f"{name}={value}": (name, value) for name, value in pairs}
    found = {word for word in words if _CLOUDFLARE.fullmatch(word)} | _all_of(words, *_DISCORD)
    if any(_SIGNATURE.fullmatch(word) for word in words):
        found |= _all_of(words, _SIGNATURE, _UNTIL_OR_END)
    elif any(_TOKEN.fullmatch(word) for word in words):
        found |= _all_of(words, _TOKEN, _UNTIL)
    else:
        found |= _all_of(words, _HASH, _UNTIL_OR_START)
    if any(name.lower() in ("sig", "signature") for name, _ in pairs):
        found |= {word for word, (name, _) in words.items() if name.lower() in _AZURE}
    return {words[word] for word in found}


def _all_of(words: Collection[str], *kinds: re.Pattern[str]) -> set[str]:
    """The words that are of one of the kinds, if there are some of each."""
    by_kind = [set(filter(kind.fullmatch, words)) for kind in kinds]
    return set.union(*by_kind) if all(by_kind) else set()
