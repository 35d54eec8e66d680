"""Which backgrounds are for evaluation only."""

from __future__ import annotations

# Trained on by nothing: the evaluation and the clips use them.
HELD_OUT = {
    *("forest", "venice", "lobby", "sunrise", "picosdeeuropa", "life", "grass"),
    *("canyondeChelly", "hawaMahal", "konarkSunTemple", "sea1", "sea2"),
}


def is_held_out(name: str) -> bool:
    """Whether the background called `name` is for evaluation only."""
    return name in HELD_OUT or name.startswith("held-out")
