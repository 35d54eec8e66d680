"""Packets of several streams in the order in which a file holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import av


@dataclass(frozen=True, order=True)
class Timed:
    """A packet that is ready to mux; ordered by time alone."""

    seconds: Fraction
    """Decode time."""
    packet: av.Packet[Any] = field(compare=False)
    kind: Literal["video", "audio", "subtitles"] = field(compare=False)
