"""What the options of the small programs take."""

from __future__ import annotations

import argparse
from pathlib import Path


def given(text: str) -> str:
    """The value of an option that names a place, for argparse's `type`.

    Raises:
        ArgumentTypeError: it is empty: that would be the folder that one is in.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty, as a variable is that the shell does not have; leave it out")
    return text


def folder(text: str) -> Path:
    """The folder that an option names, for argparse's `type`.

    Raises:
        ArgumentTypeError: none is named.
    """
    return Path(given(text))
