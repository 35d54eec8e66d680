"""One model: what requests call it, its network, where its checkpoint is, which resolutions it takes."""

from __future__ import annotations

import re
from dataclasses import dataclass

FREE_SIDES = range(256, 2304 + 1, 32)
_REPOSITORY = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_FILES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class ModelSpec:
    """One model that a request can name."""

    name: str
    """What requests call it; of the published models the API's spelling."""
    short_name: str
    """For a command line, the `weights` settings and file names."""
    network: str
    """What `build_network` is asked for."""
    weights: str | None
    """Where the checkpoint is unless the `weights` setting says otherwise: a hub repository, a file or a folder;
    None: shipped in this package."""
    default_resolution: str
    """WIDTHxHEIGHT of requests that name none."""
    resolutions: tuple[str, ...] | None
    """What requests may name; None: any sides in `FREE_SIDES`."""
    licence: str | None = None

    @property
    def repository(self) -> str | None:
        """The hub repository that the checkpoint is published in, where it is."""
        found = hub_repository(self.weights) if self.weights is not None else None
        return None if found is None else found[0]

    def allows(self, resolution: str) -> bool:
        """Whether a request may name this WIDTHxHEIGHT."""
        if self.resolutions is not None:
            return resolution in self.resolutions
        width, height = map(int, resolution.split("x"))
        return width in FREE_SIDES and height in FREE_SIDES

    @property
    def allowed(self) -> str:
        """What a request may name, in words."""
        if self.resolutions is not None:
            return " or ".join(self.resolutions)
        return (
            f"WIDTHxHEIGHT with sides from {FREE_SIDES.start} to {FREE_SIDES[-1]} "
            f"that are multiples of {FREE_SIDES.step}"
        )


def hub_name(repository: str, revision: str | None) -> str:
    """The reverse of `hub_repository`."""
    return repository if revision is None else f"{repository}@{revision}"


def hub_repository(text: str) -> tuple[str, str | None] | None:
    """`owner/name` or `owner/name@revision` as (repository, revision); None: it is no such thing."""
    match = _REPOSITORY.fullmatch(text)
    if match is None or text.endswith(_FILES):
        return None
    return match["repository"], match["revision"]
