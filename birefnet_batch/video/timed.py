"""Packets of several streams in the order in which a file holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av


@dataclass(frozen=True, order=True)
class Timed:
    """A packet that is ready to mux; ordered by time alone."""

    seconds: Fraction
    """Decode time."""
    packet: av.Packet[Any] = field(compare=False)
    is_audio: bool = field(default=True, compare=False)
