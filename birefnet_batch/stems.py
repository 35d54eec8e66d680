"""What the files of a video's results are called."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from birefnet_batch.uri_schemes import BUCKET_SCHEMES, HTTP_SCHEMES, scheme_of
from birefnet_batch.uris import SEQUENCE_NUMBER
from birefnet_batch.url_parameters import shown_path

_LONGEST = 48
# Devices on Windows, whatever the suffix; disks of its file systems refuse files of such names elsewhere too.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\.|$)")


def stem_of(uri: str) -> str:
    """A short, safe, lower-case name for the files of a job: letters, digits, dots, dashes, underscores."""
    scheme = scheme_of(uri)
    if scheme == "data":
        return "video"
    if scheme in HTTP_SCHEMES:
        uri = shown_path(urlsplit(uri).path)
    elif scheme == "file":
        uri = uri.removeprefix("file://")
    path = uri if scheme in BUCKET_SCHEMES else unquote(uri, errors="replace")
    stem = PurePosixPath(_last_part(path)).stem
    if scheme == "file" and SEQUENCE_NUMBER.search(stem):
        # An image sequence has the name that is left without its numbers, or its folder's.
        stem = SEQUENCE_NUMBER.sub("", stem).strip("-._ ") or PurePosixPath(path).parent.name
    name = re.sub(r"[^a-zA-Z0-9._-]+", "-", stem).strip("-._").lower()
    if _DEVICE.match(name):
        name = f"video-{name}"
    return name[:_LONGEST].rstrip("-._") or "video"


def _last_part(path: str) -> str:
    """What names the file, or all of a path that ends in no name: few parts are read much faster than many."""
    last = path.rpartition("/")[2]
    return path if last in ("", ".", "..") else last
