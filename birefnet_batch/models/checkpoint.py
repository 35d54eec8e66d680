"""From a checkpoint's file to a network: read as tensors and nothing else, compared by name, shape and type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from birefnet_batch.errors import WeightsError
from birefnet_batch.models import build_network
from birefnet_batch.models.birefnet import NETWORKS, BiRefNet
from birefnet_batch.models.checkpoint_numbers import check_numbers
from birefnet_batch.models.derived_buffers import derived_buffers, fixed_buffers, is_derived
from birefnet_batch.models.file_text import listed, shown
from birefnet_batch.models.foreign_file import described_foreign
from birefnet_batch.models.pickled import SUFFIXES, PickledError, read_pickled
from birefnet_batch.models.safetensors_header import HeaderError, read_header
from birefnet_batch.models.spec import ModelSpec
from birefnet_batch.refusals import one_line, system_reason

# What wrappers of a module put in front of its names: DataParallel, torch.compile.
_PREFIXES = ("module.", "_orig_mod.")
_MOST_SAID = 300
# As safetensors and torch name them; eight bits are not enough for a network here.
_FLOATING = ("F64", "F32", "F16", "BF16", "float64", "float32", "float16", "bfloat16")


class _Found(NamedTuple):
    shape: tuple[int, ...]
    floating: bool
    kind: str


def network_from(path: Path, spec: ModelSpec) -> BiRefNet:
    """A model's network with a checkpoint, float32, in eval mode, on the CPU.

    A file is judged by its header first: what does not fit costs no memory.

    Raises:
        WeightsError: the file is damaged, or its tensors are not the network's; the message says which.
    """
    network = _unallocated(spec.network)
    wanted = network.state_dict()
    with _refusals(path):
        tensors = _pickled(path) if _is_pickled(path) else {}
        _check(path, f"{spec.name} (network {spec.network})", wanted, _described(path, tensors))
        tensors = tensors or _safetensors(path)
    complete = {**derived_buffers(network), **tensors}
    # Copies, for a file may change; and not into `to_empty`, for which torch would load its compilers, in two seconds.
    copies = {
        name: value.to(wanted[name].dtype, copy=True, memory_format=torch.contiguous_format)
        for name, value in complete.items()
    }
    network.load_state_dict(copies, strict=True, assign=True)
    check_numbers(path, network.state_dict().items(), fixed_buffers(network))
    return network.eval()


def check_header(path: Path, spec: ModelSpec) -> None:
    """Judge a safetensors file by its header, as `network_from` does first; others have none.

    Raises:
        WeightsError: the file is damaged, or its tensors are not those of the model's network.
    """
    with _refusals(path):
        if not _is_pickled(path):
            wanted = _unallocated(spec.network).state_dict()
            _check(path, f"{spec.name} (network {spec.network})", wanted, _described(path, {}))


def check_file(path: Path, spec: ModelSpec | None) -> str:
    """Read a whole checkpoint and judge it as `network_from` does, one tensor in memory at a time.

    Args:
        path: the file.
        spec: the model that it must be of; None: any network here will do.

    Returns:
        The network that it is of, as `build_network` is asked for it.

    Raises:
        WeightsError: it is damaged, of another network or holds numbers that spoil mattes; the message says which.
    """
    with _refusals(path):
        tensors = _pickled(path) if _is_pickled(path) else {}
        found = _described(path, tensors)
        if spec is not None:
            name, whose = spec.network, f"{spec.name} (network {spec.network})"
        else:
            name = _nearest(found)
            whose = f"any network here (the nearest is {name})"
        network = _unallocated(name)
        _check(path, whose, network.state_dict(), found)
        every = tensors.items() if _is_pickled(path) else _one_by_one(path)
        check_numbers(path, every, fixed_buffers(network))
    return name


def _unallocated(network: str) -> BiRefNet:
    with torch.device("meta"):
        return build_network(network)


def _nearest(found: Mapping[str, _Found]) -> str:
    """The network with the most tensors of these names and shapes."""

    def alike(network: str) -> int:
        wanted = _unallocated(network).state_dict()
        return sum(name in found and found[name].shape == tuple(value.shape) for name, value in wanted.items())

    return max(NETWORKS, key=alike)


def _is_pickled(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _pickled(path: Path) -> dict[str, Tensor]:
    return _stripped(path, read_pickled(path))


def _described(path: Path, pickled: Mapping[str, Tensor]) -> dict[str, _Found]:
    """What a file says that it holds."""
    if _is_pickled(path):
        kinds = {name: str(value.dtype).removeprefix("torch.") for name, value in pickled.items()}
        return {name: _Found(tuple(pickled[name].shape), kind in _FLOATING, kind) for name, kind in kinds.items()}
    header = _stripped(path, read_header(path))
    return {name: _Found(shape, kind in _FLOATING, kind) for name, (kind, shape) in header.items()}


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return _stripped(path, load_file(path))
    except (SafetensorError, ValueError, KeyError) as error:
        raise HeaderError(shown(one_line(error), _MOST_SAID)) from None


def _one_by_one(path: Path) -> Iterator[tuple[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                yield _bare(name), file.get_tensor(name)
    except (SafetensorError, ValueError, KeyError) as error:
        raise HeaderError(shown(one_line(error), _MOST_SAID)) from None


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    pickled = _is_pickled(path)
    what = "checkpoint that can be loaded" if pickled else "safetensors file that can be read"
    lead = f"The weights {path} are no {what}"
    try:
        foreign = described_foreign(path, pickled)
        if foreign is not None:
            raise WeightsError(f"{lead}: {foreign}")
        yield
    except HeaderError as error:
        raise WeightsError(f"{lead}: {error}; fetch it again, or convert the checkpoint") from None
    except PickledError as error:
        advice = "save the network's state_dict() with torch.save or safetensors"
        raise WeightsError(f"{lead}: {error}; {advice}") from None
    except OSError as error:
        raise WeightsError(f"The weights {path} cannot be read: {system_reason(error)}") from None


def _bare(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name


def _stripped(path: Path, tensors: Mapping[str, Any]) -> dict[str, Any]:
    stripped: dict[str, Any] = {}
    for given, value in tensors.items():
        name = _bare(given)
        if name in stripped:
            raise WeightsError(f"The weights {path} have {shown(name)} twice: {shown(given)} is one of them")
        stripped[name] = value
    return stripped


def _check(path: Path, whose: str, wanted: Mapping[str, Tensor], found: Mapping[str, _Found]) -> None:
    both = [name for name in wanted if name in found]
    differences = {
        "missing": [name for name in wanted if name not in found and not is_derived(name)],
        "unknown": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} is {found[name].shape} instead of {tuple(wanted[name].shape)}"
            for name in both
            if found[name].shape != tuple(wanted[name].shape)
        ],
        "of another type": [
            f"{name} is {found[name].kind}"
            for name in both
            if found[name].floating is not wanted[name].is_floating_point()
        ],
    }
    said = [f"{len(names)} {what}: {listed(names)}" for what, names in differences.items() if names]
    if said:
        raise WeightsError(f"The weights {path} are not those of {whose}: {'; '.join(said)}")
