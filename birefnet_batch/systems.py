"""The operating systems that this package runs on."""

from __future__ import annotations

import sys


def no_system() -> str | None:
    """Why nothing can run on this system; None where it can."""
    # Asked for by a name, or mypy takes what follows for unreachable elsewhere.
    system = sys.platform
    if system == "win32":
        return (
            "birefnet_batch runs on Linux and macOS, not on Windows itself: locks, leases and signals are POSIX's; "
            "install and run it within WSL 2, where GPUs are seen too"
        )
    return None
