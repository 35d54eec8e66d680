"""Checkpoints: where a model's is, and the network with it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from birefnet_batch.digests import known_sha256
from birefnet_batch.errors import WeightsError
from birefnet_batch.models.hub import FILE_NAME, cached, fetch_to_cache, is_damaged
from birefnet_batch.models.hub_errors import HubError, NoAnswerError
from birefnet_batch.models.registry import MODELS, ModelSpec
from birefnet_batch.models.spec import hub_name, hub_repository
from birefnet_batch.models.weights_folder import checkpoint_in, source_in
from birefnet_batch.refusals import absence, system_reason
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.uris import user_path
from birefnet_batch.url_redaction import redact, redact_value

if TYPE_CHECKING:
    from birefnet_batch.models.birefnet import BiRefNet

DEFAULT_FOLDER = "weights"
_DEMO = Path(__file__).parent / "demo" / "demo.safetensors"


@dataclass(frozen=True)
class WeightsFile:
    """A checkpoint on this machine."""

    path: Path
    sha256: str
    source: str
    """Where it came from: a path, or `repository@commit`."""


def folder_setting(folder: str) -> str:
    """What makes a run take weights from a folder, for a shell's command line."""
    return shlex.quote(f"weights_folder={folder}")


def weights_setting(spec: ModelSpec, hub: str) -> str:
    """What makes a run take a model's weights from another place than its entry names, for a shell's command line."""
    # Of the shipped ones alone the configuration has the names.
    return shlex.quote(f"{'' if spec in MODELS else '+'}weights.{spec.short_name}={hub}")


def locate_weights(
    spec: ModelSpec,
    setting: str | None = None,
    folder: str | None = None,
    given_by: Callable[[str], str] = folder_setting,
) -> WeightsFile:
    """Find a model's checkpoint, fetching it from the hub where there is a network.

    Args:
        spec: the model.
        setting: a safetensors or .pth file; a folder with model.safetensors, or with exactly one safetensors file of
            another name; or a hub repository (`owner/name` or `owner/name@revision`). None is what the model's entry
            says.
        folder: a folder that `birefnet-batch-weights fetch` filled; what comes from the hub is taken from there
            and nowhere else.
        given_by: for the error: what makes the caller's program use a folder that was filled elsewhere, as words of a
            shell.

    Raises:
        WeightsError: it is not here and cannot be had; the message names the command and the folder.
    """
    for name, value in ((f"weights.{spec.short_name}", setting), ("weights_folder", folder)):
        if value is not None and not value.strip():
            raise WeightsError(
                f"{name} is empty, as of a shell's variable that is not set; give a path, or leave it out (null)"
            )
    if folder is not None and scheme_of(folder) not in ("", "file"):
        raise WeightsError(
            f"weights_folder={redact(folder)} is on no disk of this machine; copy it to one, and give the folder there"
        )
    asked = setting if setting is not None else spec.weights
    if asked is None:
        return _local(_DEMO, _DEMO.name)
    path = user_path(asked)
    if _is_local(path):
        return _local(_in_folder(path) if os.path.isdir(path) else path, str(path))  # noqa: PTH112  see _is_file
    hub = hub_repository(asked)
    if hub is None:
        name = f"weights.{spec.short_name}" if setting is not None else f"models.{spec.short_name}.weights"
        what = absence(path) if scheme_of(asked) in ("", "file") else "is a URL, which is not downloaded"
        raise WeightsError(
            f"{name}={redact_value(asked)} {what}; give a safetensors or .pth file, a folder with "
            f"{FILE_NAME}, or a hub repository.{_how_to_get(spec, spec.weights, folder, given_by)}"
        )
    if folder is not None:
        return _from_folder(spec, user_path(folder), *hub)
    try:
        return _from_hub(spec, *hub, given_by)
    except WeightsError as error:
        if setting is None or "@" in setting:
            raise
        # A path that is mistyped looks like a repository.
        raise WeightsError(
            f"weights.{spec.short_name}={setting} is no file or folder here ({path.absolute()}), and is taken for a "
            f"hub repository: {error}"
        ) from None


def load_network(spec: ModelSpec, weights: WeightsFile) -> BiRefNet:
    """The model's network with its checkpoint, float32, in eval mode, on the CPU.

    Raises:
        WeightsError: the file is damaged, or its tensors are not the network's; the message says which.
    """
    from birefnet_batch.models.checkpoint import network_from

    return network_from(weights.path, spec)


def on_hub(spec: ModelSpec) -> bool:
    """Whether a model's entry names a hub repository: no file or folder of this machine, nor the package's own."""
    return spec.weights is not None and not _is_local(user_path(spec.weights)) and bool(hub_repository(spec.weights))


def _is_local(path: Path) -> bool:
    return _is_file(path) or os.path.isdir(path)  # noqa: PTH112  see _is_file


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113  Path.is_file raises where a folder may not be entered


def _in_folder(folder: Path) -> Path:
    preferred = folder / FILE_NAME
    if _is_file(preferred):
        return preferred
    try:
        # Path.glob calls a folder empty that may not be read.
        names = os.listdir(folder)  # noqa: PTH208  names alone
    except OSError as error:
        reason = system_reason(error)
        raise WeightsError(f"The weights folder {folder} cannot be read: {reason}") from None
    found = sorted(folder / name for name in names if name.endswith(".safetensors"))
    if len(found) != 1:
        what = f"{len(found)} safetensors files" if found else "no safetensors file (a .pth file is given by its path)"
        raise WeightsError(f"The weights folder {folder} holds {what}; it must hold {FILE_NAME}, or exactly one")
    return found[0]


def _local(path: Path, source: str) -> WeightsFile:
    try:
        return WeightsFile(path, known_sha256(path), source)
    except OSError as error:
        raise WeightsError(f"The weights {path} cannot be read: {system_reason(error)}") from None


def option_of(spec: ModelSpec, named: bool) -> Callable[[str], str]:
    """What makes a program with an option --weights take a model from a filled folder.

    Args:
        spec: the model.
        named: whether the option takes MODEL=WHERE, else WHERE alone.
    """

    def option(folder: str) -> str:
        where = str(checkpoint_in(Path(folder), spec.short_name).parent)
        return f"--weights {shlex.quote(f'{spec.short_name}={where}' if named else where)}"

    return option


def _from_folder(spec: ModelSpec, folder: Path, repository: str, revision: str | None) -> WeightsFile:
    path = checkpoint_in(folder, spec.short_name)
    asked = hub_name(repository, revision)
    if not _is_file(path):
        raise WeightsError(
            f"weights_folder={folder} holds no weights of {spec.name}: {path} {absence(path)}."
            f"{_how_to_get(spec, asked, str(folder))}"
        )
    source = source_in(folder, spec.short_name)
    if source is None:
        return _local(path, str(path))
    if not source.is_of(repository, revision):
        raise WeightsError(
            f"{path} is of {source.repository}@{source.revision}, and {asked} is asked for; to use what is there give "
            f"{weights_setting(spec, hub_name(source.repository, source.revision))}."
            f"{_how_to_get(spec, asked, str(folder))}"
        )
    weights = _local(path, f"{source.repository}@{source.commit}")
    if weights.sha256 != source.sha256:
        raise WeightsError(
            f"{path} is not what came from {source.repository}@{source.commit}: its sha256 is {weights.sha256} "
            f"instead of {source.sha256}.{_how_to_get(spec, asked, str(folder))}"
        )
    return weights


def _from_hub(spec: ModelSpec, repository: str, revision: str | None, given_by: Callable[[str], str]) -> WeightsFile:
    asked = hub_name(repository, revision)
    try:
        path = cached(repository, revision) or _fetched(repository, revision)
    except HubError as error:
        raise WeightsError(
            f"The weights of {spec.name} ({asked}) cannot be had: {error}.{_how_to_get(spec, asked, None, given_by)}"
        ) from None
    # A cached file is snapshots/<commit>/model.safetensors.
    weights = _local(path, f"{repository}@{path.parent.name}")
    if is_damaged(path, weights.sha256):
        raise WeightsError(
            f"The weights of {spec.name} ({asked}) in the hub's cache are damaged (sha256 {weights.sha256}); "
            f"delete {path.resolve()}, and the next run fetches them again"
        )
    return weights


def _fetched(repository: str, revision: str | None) -> Path:
    try:
        return fetch_to_cache(repository, revision)
    except NoAnswerError as error:
        raise HubError(f"they are not in the hub's cache on this machine, and {error}") from None


def fetch_command(spec: ModelSpec, hub: str, folder: str) -> str:
    """The command that gets a model's checkpoint of the hub into a folder."""
    published = spec in MODELS and hub == spec.weights
    model = spec.short_name if published else f"{spec.short_name}={hub}"
    return f"birefnet-batch-weights fetch {shlex.quote(model)} --folder {shlex.quote(folder)}"


def _how_to_get(
    spec: ModelSpec, hub: str | None, folder: str | None, given_by: Callable[[str], str] = folder_setting
) -> str:
    if hub is None or hub_repository(hub) is None:
        return ""
    folder = folder or DEFAULT_FOLDER
    return (
        f" On a machine with a network run `{fetch_command(spec, hub, folder)}`, copy the folder {folder} here "
        f"and give {given_by(folder)}"
    )
