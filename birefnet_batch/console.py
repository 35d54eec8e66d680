"""Where tables for people go: a terminal's width, or whole columns where the reader is a file or another program."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Of a stream that is no terminal rich assumes 80 columns, and cuts what is longer.
_UNBOUNDED = 1_000_000


def table_console() -> Console:
    """A console on standard output that cuts nothing off."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    return console if console.is_terminal else Console(soft_wrap=True, highlight=False, width=_UNBOUNDED)
