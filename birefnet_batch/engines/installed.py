"""Which families of engines have their packages here, for messages."""

from __future__ import annotations

from importlib.util import find_spec

_MODULES = {"torch": ("torch",), "onnxruntime": ("onnxruntime",), "tensorrt": ("tensorrt", "tensorrt_rtx")}


def installed() -> str:
    """Return the values of engine.name whose packages are here, in words; their devices are another question."""
    found = [family for family, modules in _MODULES.items() if any(find_spec(module) for module in modules)]
    return " and ".join(filter(None, (", ".join(found[:-1]), *found[-1:]))) or "none"
