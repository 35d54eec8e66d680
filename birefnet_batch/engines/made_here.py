"""What this process has made for the engine store: other runs find it, and this one took longer for it."""

from __future__ import annotations

from collections import Counter

made_here: Counter[str] = Counter()
"""How many engines were built (`engine`) and how many records measured (`record`)."""
