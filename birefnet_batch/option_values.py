"""What the options of the small programs take."""

from __future__ import annotations

import argparse
from pathlib import Path

from birefnet_batch.errors import InputError
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.uris import user_path
from birefnet_batch.url_redaction import redact


def given(text: str) -> str:
    """The value of an option that names a place, for argparse's `type`.

    Raises:
        ArgumentTypeError: it is empty: that would be the folder that one is in.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty, as a variable is that the shell does not have; give a place")
    return text


def folder(text: str) -> Path:
    """The folder that an option names, for argparse's `type`.

    Raises:
        ArgumentTypeError: none is named, or a URL is.
    """
    if scheme_of(given(text)) not in ("", "file"):
        raise argparse.ArgumentTypeError(f"{redact(text)!r} is a URL; give a folder on a disk")
    try:
        return user_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
