"""Checkpoints: where a model's is, whether it is right, and the network with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birefnet_batch.digests import known_sha256
from birefnet_batch.errors import WeightsError
from birefnet_batch.models.registry import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE_NAME = "model.safetensors"
_DEMO = Path(__file__).parent / "demo" / "demo.safetensors"
_PREFIXES = ("module.", "_orig_mod.")
# Buffers that follow from the architecture; a checkpoint may leave them out.
_DERIVED = ("num_batches_tracked", "relative_position_index")
_SHOWN = 6
_REACH_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class WeightsFile:
    """A checkpoint on this machine."""

    path: Path
    sha256: str
    source: str
    """Where it came from: a path, or `repository@revision`."""


def locate_weights(spec: ModelSpec, setting: str | None = None) -> WeightsFile:
    """Find a model's checkpoint, fetching it from the hub where there is a network.

    Args:
        spec: the model.
        setting: a safetensors file, a folder that holds one, or a hub repository (`owner/name` or
            `owner/name@revision`); None is the published one, of Demo the shipped one.

    Raises:
        WeightsError: it is not here and cannot be had; the message names the command and the folder.
    """
    if setting is None:
        if spec.repository is None:
            return _local(_DEMO, str(_DEMO.name))
        return _from_hub(spec, spec.repository, None)
    path = Path(setting).expanduser()
    if path.is_file() or path.is_dir():
        return _local(_in_folder(path) if path.is_dir() else path, str(path))
    repository, _, revision = setting.partition("@")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", repository) and not setting.endswith((".safetensors", ".pth", ".pt")):
        return _from_hub(spec, repository, revision or None)
    raise WeightsError(
        f"weights.{spec.short_name}={setting} does not exist; give a safetensors file, a folder with {FILE_NAME}, "
        f"or a hub repository.{_how_to_get(spec)}"
    )


def load_network(spec: ModelSpec, weights: WeightsFile) -> nn.Module:
    """The model's network with its checkpoint, float32, in eval mode, on the CPU.

    Raises:
        WeightsError: the file is damaged, or its tensors are not the network's; the message says which.
    """
    import torch

    from birefnet_batch.models import build_network

    tensors = _read(weights.path)
    with torch.device("meta"):
        network: nn.Module = build_network(spec.network)
    wanted = network.state_dict()
    _check(weights.path, spec, wanted, tensors)
    network.to_empty(device="cpu")
    derived = {name: value for name, value in build_buffers(spec.network).items() if name not in tensors}
    network.load_state_dict(
        {
            name: value.to(wanted[name].dtype) if wanted[name].is_floating_point() else value
            for name, value in {**derived, **tensors}.items()
        },
        strict=True,
    )
    return network.eval()


def build_buffers(network: str) -> dict[str, Tensor]:
    """The derived buffers of a network, which a checkpoint may leave out."""
    from birefnet_batch.models import build_network

    return {
        name: value
        for name, value in build_network(network).state_dict().items()
        if name.rpartition(".")[2] in _DERIVED
    }


def _in_folder(folder: Path) -> Path:
    preferred = folder / FILE_NAME
    found = [preferred] if preferred.is_file() else sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        what = f"{len(found)} safetensors files" if found else "no safetensors file"
        raise WeightsError(f"The weights folder {folder} holds {what}; it must hold {FILE_NAME}, or exactly one")
    return found[0]


def _local(path: Path, source: str) -> WeightsFile:
    try:
        return WeightsFile(path, known_sha256(path), source)
    except OSError as error:
        raise WeightsError(f"The weights {path} cannot be read: {(error.strerror or str(error)).lower()}") from None


def _from_hub(spec: ModelSpec, repository: str, revision: str | None) -> WeightsFile:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        path = _cached(repository, revision)
        if path is None:
            _require_network()
            path = Path(hf_hub_download(repository, FILE_NAME, revision=revision))
    except _UnreachableError as error:
        reason = f"they are not in the hub's cache on this machine, and {error}"
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        reason = "they are not in the hub's cache on this machine, and the hub cannot be reached"
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
    else:
        # A cached file is snapshots/<commit>/model.safetensors.
        return _local(path, f"{repository}@{path.parent.name}")
    raise WeightsError(
        f"The weights of {spec.name} ({repository}) cannot be had: {reason}.{_how_to_get(spec, repository)}"
    )


class _UnreachableError(Exception):
    pass


def _cached(repository: str, revision: str | None) -> Path | None:
    """What the hub's cache holds: a run repeats with the same weights until the user asks for a newer revision."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, FILE_NAME, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _require_network() -> None:
    """Find out within seconds that there is no network; the hub's library retries for half a minute."""
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise _UnreachableError("HF_HUB_OFFLINE is set")
    try:
        httpx.head(constants.ENDPOINT, timeout=_REACH_TIMEOUT_S)
    except httpx.HTTPError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _UnreachableError(f"{constants.ENDPOINT} cannot be reached ({reason})") from None


def _how_to_get(spec: ModelSpec, repository: str | None = None) -> str:
    repository = repository or spec.repository
    if repository is None:
        return ""
    folder = f"weights/{spec.short_name}"
    return (
        f" On a machine with a network run `hf download {repository} {FILE_NAME} --local-dir {folder}`, "
        f"copy the folder here and give weights.{spec.short_name}={folder}"
    )


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"The weights {path} are no safetensors file that can be read: {reason}; "
            "fetch it again, or convert the checkpoint"
        ) from None
    stripped: dict[str, Tensor] = {}
    for name, value in tensors.items():
        while name.startswith(_PREFIXES):
            name = name.partition(".")[2]
        stripped[name] = value
    return stripped


def _check(path: Path, spec: ModelSpec, wanted: dict[str, Any], found: dict[str, Tensor]) -> None:
    missing = [name for name in wanted if name not in found and name.rpartition(".")[2] not in _DERIVED]
    foreign = [name for name in found if name not in wanted]
    shapes = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    differences = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
        for names, what in ((missing, "missing"), (foreign, "unknown"), (shapes, "of another shape"))
        if names
    ]
    if differences:
        raise WeightsError(
            f"The weights {path} are not those of {spec.name} (network {spec.network}): {'; '.join(differences)}"
        )
