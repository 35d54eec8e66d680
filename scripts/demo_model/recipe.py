"""Tells whether a cached file was made by the code at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from demo_model.paths import CACHE


class Recipe:
    """The modules that a cached file is made by: made by others, it would be trained or measured on in silence.

    Args:
        name: the cached file's name, without its ending.
        modules: names of modules of this package.
    """

    def __init__(self, name: str, modules: Sequence[str]) -> None:
        sources = [Path(__file__).with_name(f"{module}.py").read_bytes() for module in modules]
        self.digest = hashlib.sha256(b"".join(sources)).hexdigest()
        self.noted = CACHE / f"{name}.sha256"

    def followed(self) -> bool:
        """Whether the cached file was made by these modules as they are now."""
        return self.noted.exists() and self.noted.read_text() == self.digest

    def note(self) -> None:
        """Note that the file, which is complete now, was made by them."""
        self.noted.write_text(self.digest)
