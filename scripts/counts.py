"""Counts and sizes as words of a command line, for argparse's `type`; needs nothing that is not Python's own."""

from __future__ import annotations

import argparse
import math
import re
from contextlib import suppress


def count(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def counts(text: str) -> list[int]:
    """Whole numbers of at least 1, separated by commas.

    Raises:
        ArgumentTypeError: one is none.
    """
    return [count(word) for word in text.split(",")]


def amount(text: str) -> float:
    """A finite number above 0.

    Raises:
        ArgumentTypeError: it is none.
    """
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")


def side(text: str) -> int:
    """A side of the network's images.

    Raises:
        ArgumentTypeError: the network takes none of this length.
    """
    if count(text) % 32:
        raise argparse.ArgumentTypeError(f"{text!r} is no multiple of 32, which the network's sides are")
    return int(text)


def sides(text: str) -> tuple[int, int]:
    """Width and height of the network's images, of WIDTHxHEIGHT.

    Raises:
        ArgumentTypeError: it is not that, or the network takes no images of this size.
    """
    width, height = frame(text)
    return side(str(width)), side(str(height))


def frame(text: str) -> tuple[int, int]:
    """Width and height of a frame, of WIDTHxHEIGHT.

    Raises:
        ArgumentTypeError: it is not that.
    """
    if text.count("x") != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no WIDTHxHEIGHT")
    width, height = map(count, text.split("x"))
    return width, height
