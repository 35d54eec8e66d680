"""What a file is that stands where a checkpoint should: what users really have there, and what to do about it."""

from __future__ import annotations

import codecs
import re
import zipfile
from pathlib import Path

from birefnet_batch.models.file_text import printable
from birefnet_batch.url_redaction import redact_text

_READ = 1024
_SHOWN = 60
_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGE = re.compile(rb"\s*<(!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)
_ARCHIVE = b"PK\x03\x04"
_PICKLE = re.compile(rb"\x80[\x02-\x05]")


def described_foreign(path: Path, pickled: bool) -> str | None:
    """Half a sentence about a file that cannot be a checkpoint, by its first kilobyte.

    Args:
        path: the file.
        pickled: whether torch.save should have written it, else safetensors.

    Returns:
        What it is and what to do; None: it may be a checkpoint, or nobody knows what it is.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_READ)
    head = head.removeprefix(b"\xef\xbb\xbf")
    if not head:
        return "it is empty; fetch it again"
    if head.startswith(_POINTER):
        size = re.search(rb"^size (\d{1,18})$", head, re.MULTILINE)
        whole = f" of {int(size[1]):,} bytes" if size else ""
        return (
            f"it is a Git LFS pointer, which stands for the file{whole} in a clone that was made without Git LFS; run "
            "`git lfs install` and `git lfs pull` in the clone, or download the file itself"
        )
    if _PAGE.match(head):
        return (
            "it is a web page (HTML or XML), as a login, a proxy or an error gives one instead of a file; open it to "
            "see what it says, then download the file again"
        )
    if not pickled and head.startswith(_ARCHIVE):
        return "it is an archive, as torch.save writes them; give it a name that ends in .pth"
    if not pickled and _PICKLE.match(head):
        return "it is a pickle of Python's; save the network's state_dict() as safetensors"
    if pickled and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= path.stat().st_size - 8:
        return "it is a safetensors file; give it a name that ends in .safetensors"
    if pickled and head.startswith(_ARCHIVE) and not zipfile.is_zipfile(path):
        return (
            "it is no archive as torch.save writes it, but it begins as one: it is truncated, and the list of what it "
            "holds was at its end; fetch it again"
        )
    text = _text(head)
    if text is not None:
        beginning = printable(redact_text(text)[:_SHOWN])
        return f"it is text and no weights, beginning with `{beginning}`; download the file again"
    return None


def _text(head: bytes) -> str | None:
    try:
        # The last character may be cut.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    plain = all(character.isprintable() or character in "\t\r\n" for character in text)
    return " ".join(text.split()) if plain else None
