"""Which versions and hardware made a result."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from birefnet_batch.process_tuning import machine_memory, usable_memory, usable_processors

_PACKAGES = (
    *("birefnet-batch", "torch", "av", "numpy", "numba", "safetensors", "pillow", "huggingface-hub", "pydantic"),
    *("hydra-core", "omegaconf", "fsspec", "httpx"),
)
# Recorded where they are installed.
_OPTIONAL = (
    *("triton", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "tensorrt", "tensorrt-rtx"),
    *("ray", "s3fs", "gcsfs", "adlfs"),
    *("nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cublas-cu12", "nvidia-cublas"),
)
INSTALL_TORCH = "pip install --force-reinstall 'torch>=2.9,<2.14'"
"""Brings a CUDA build where there is none; without the range of pyproject.toml pip takes a newer one."""
DECIDING = ("processor", "cpu_capability", "gpus", "gpu_driver", "cuda", "cudnn")
"""Of what `machine` says, what may make other bytes of the same work."""
CHECKOUT = "from a checkout"
"""Stands for the version of a package that is not installed."""


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    import av

    found = [("python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append((name, "not installed"))
    for name in _OPTIONAL:
        with suppress(metadata.PackageNotFoundError):
            found.append((name, metadata.version(name)))
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
        return CHECKOUT


def machine() -> dict[str, Any]:
    """This machine: name, system, processor, memory, GPUs and the versions of their drivers."""
    return dict(_machine())


def kind_of_machine() -> dict[str, Any]:
    """What of this machine may make other bytes than another one makes."""
    return {name: machine().get(name) for name in DECIDING}


@cache
def _machine() -> tuple[tuple[str, Any], ...]:
    import torch

    count = torch.cuda.device_count()
    found: dict[str, Any] = {
        "host": socket.gethostname(),
        "device": "cuda" if count else "cpu",
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_bytes": machine_memory(),
        # Less than the machine's in a container that is given less.
        "usable_processors": usable_processors(),
        "usable_memory_bytes": usable_memory(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(count)],
        "cuda": torch.version.cuda if count else None,
        "python": sys.version.split()[0],
    }
    if count:
        capabilities = [torch.cuda.get_device_capability(index) for index in range(count)]
        found["compute_capabilities"] = [".".join(map(str, capability)) for capability in capabilities]
        found["gpu_memory_bytes"] = [torch.cuda.get_device_properties(index).total_memory for index in range(count)]
        found["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        found["gpu_driver"] = _gpu_driver()
    return tuple(found.items())


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _gpu_driver() -> str | None:
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.split("\n")[0].strip() or None


@cache
def git_revision() -> str | None:
    """The commit of the checkout that this package runs from, with `-dirty` after changes; None for a wheel."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *words: str) -> str:
    # A run that is killed meanwhile must leave no lock on the user's checkout.
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
