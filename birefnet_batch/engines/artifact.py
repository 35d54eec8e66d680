"""What a built engine file is, exactly: everything that decides its bytes or whether it may be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from birefnet_batch.models.registry import ModelSpec
    from birefnet_batch.models.weights import WeightsFile

DeformableForm = Literal["native", "gridsample", "openvino"]
"""How an ONNX file has its deformable convolutions: as DeformConv, or as GridSample and a convolution."""

_PACKAGE = Path(__file__).parent.parent
# The code that decides what a file holds: the writer, the network, whose tensors it asks for by name, and what reads
# them from a checkpoint. A plan is made of an ONNX file.
_NETWORK = ("__init__", "birefnet", "decoder", "deformable", "linear", "pyramid", "swin")
_READERS = ("checkpoint", "derived_buffers", "pickled")
_ONNX_SOURCES = ("engines/onnx_export/*.py", *(f"models/{name}.py" for name in (*_NETWORK, *_READERS)))
_SOURCES = {"onnx": _ONNX_SOURCES, "plan": (*_ONNX_SOURCES, "engines/tensorrt_builder.py")}


@dataclass(frozen=True)
class Artifact:
    """The identity of one file in the engine store; `key` is its digest."""

    kind: Literal["onnx", "plan"]
    """An ONNX model, or a plan compiled for a device."""
    model: str
    """The model's short name."""
    network: str
    weights_sha256: str
    width: int
    height: int
    precision: str
    options: Mapping[str, Any]
    """The exporter's and the builder's choices."""
    batch: int | None = None
    """The largest batch of a plan's profile; an ONNX file takes any."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """Of a plan: the library that compiled it, with its version."""
    device: Mapping[str, str] = field(default_factory=dict)
    """Of a plan: the GPU's name and compute capability."""
    code: str = ""
    """Digest of the source that makes it, `source_digest`."""

    @classmethod
    def of(
        cls,
        kind: Literal["onnx", "plan"],
        model: ModelSpec,
        weights: WeightsFile,
        size: tuple[int, int],
        precision: str,
        options: Mapping[str, Any],
        *,
        batch: int | None = None,
        libraries: Mapping[str, str] | None = None,
        device: Mapping[str, str] | None = None,
    ) -> Artifact:
        """What this version's exporter makes of a model; `size` is (width, height), what follows `options` a plan's."""
        return cls(
            kind=kind,
            model=model.short_name,
            network=model.network,
            weights_sha256=weights.sha256,
            width=size[0],
            height=size[1],
            precision=precision,
            options=options,
            batch=batch,
            libraries=libraries or {},
            device=device or {},
            code=source_digest(kind),
        )

    @property
    def key(self) -> str:
        """The digest that names it."""
        return key_of(asdict(self))

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return file_name(self.kind)

    def __str__(self) -> str:
        return label(asdict(self))


def label(artifact: Mapping[str, Any]) -> str:
    """What a user tells engines apart by, from an `Artifact`'s fields as entry.json has them."""
    options, device = artifact["options"], artifact["device"]
    words = [artifact[name] for name in ("kind", "model")]
    words += [f"{artifact['width']}x{artifact['height']}", artifact["precision"], options["deform_conv"]]
    if artifact["batch"]:
        words.append(f"batch {artifact['batch']}")
    if options.get("workspace_bytes"):
        words.append(f"workspace {options['workspace_bytes'] / 2**30:g} GiB")
    if device:
        # A plan that is of no one GPU is of all with its capability.
        words.append(f"for {device['compute_capability'] if device['name'] == 'any' else device['name']}")
    if "cuda" in device:
        words.append(f"with CUDA {device['cuda']}")
    words += [f"by {name} {version}" for name, version in artifact["libraries"].items()]
    return " ".join(words)


def key_of(artifact: Mapping[str, Any]) -> str:
    """The digest of an artifact's fields."""
    identity = json.dumps(artifact, sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def file_name(kind: str) -> str:
    """The name of a file of a kind, onnx or plan, in its folder."""
    return f"model.{kind}"


@cache
def source_digest(kind: str) -> str:
    """Digest of the source that makes files of a kind, onnx or plan: another one never takes a file of this one's."""
    digest = hashlib.sha256()
    for pattern in _SOURCES[kind]:
        for path in sorted(_PACKAGE.glob(pattern)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
