"""How a URL begins that this version reads or writes."""

from __future__ import annotations

import re

HTTP_SCHEMES = ("http", "https")
BUCKET_SCHEMES = ("s3", "gs", "az")
SCHEMES = ("file", *HTTP_SCHEMES, *BUCKET_SCHEMES, "data")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")


def scheme_of(url: str) -> str:
    """The lower-case URI scheme, or an empty string for a path (`C:\\...` and `a:b` are paths)."""
    match = _SCHEME.match(url)
    if match:
        return match.group(1).lower()
    return "data" if url[:5].lower() == "data:" else ""
