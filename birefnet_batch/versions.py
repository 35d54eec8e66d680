"""Which versions and hardware made a result."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("birefnet-batch", "torch", "av", "numpy", "safetensors", "hydra-core")


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    import av

    found = [("python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append((name, "not installed"))
    found += [(name, ".".join(map(str, version))) for name, version in sorted(av.library_versions.items())]
    return tuple(found)


def library_versions() -> dict[str, str]:
    """Package name -> version, of all that decides a result; FFmpeg's libraries by their own names."""
    return dict(_versions())


def package_version() -> str:
    """The version of this package, or that it runs from a checkout that is not installed."""
    try:
        return metadata.version("birefnet-batch")
    except metadata.PackageNotFoundError:
        return "from a checkout"


def machine() -> dict[str, Any]:
    """The machine of the driver: platform, processors, GPUs."""
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "device": "cuda" if gpus else "cpu",
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
        "python": sys.version.split()[0],
    }


def git_revision() -> str | None:
    """The commit of the checkout that this package runs from, with `-dirty` after changes; None for a wheel."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
