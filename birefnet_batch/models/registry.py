"""Which models there are, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    """One model that a request can name."""

    name: str
    """The API's spelling."""
    short_name: str
    """For a command line and the `weights` settings."""
    network: str
    """What `build_network` is asked for."""
    repository: str | None
    """Where the published checkpoint is on the Hugging Face hub; None: shipped in this package."""
    native_width: int
    native_height: int
    licence: str


def _published(
    name: str, short_name: str, network: str, repository: str, width: int = 1024, height: int = 1024
) -> ModelSpec:
    return ModelSpec(name, short_name, network, f"ZhengPeng7/{repository}", width, height, "MIT")


# Light is the large network and Heavy the small one: that is the API's own assignment, and the same call must
# give the same model here.
MODELS: tuple[ModelSpec, ...] = (
    _published("General Use (Light)", "light", "swin_v1_l", "BiRefNet"),
    _published("General Use (Light 2K)", "light_2k", "swin_v1_t", "BiRefNet_lite-2K", 2560, 1440),
    _published("General Use (Heavy)", "heavy", "swin_v1_t", "BiRefNet_lite"),
    _published("Matting", "matting", "swin_v1_l", "BiRefNet-matting"),
    _published("Portrait", "portrait", "swin_v1_l", "BiRefNet-portrait"),
    _published("General Use (Dynamic)", "dynamic", "swin_v1_l", "BiRefNet_dynamic"),
    ModelSpec("Demo", "demo", "demo", None, 512, 512, "MIT"),
)


def find_model(name: str) -> ModelSpec:
    """The model with this name, in the API's spelling or short.

    Raises:
        KeyError: there is none; a validated request names one.
    """
    for spec in MODELS:
        if name in (spec.name, spec.short_name):
            return spec
    raise KeyError(f"there is no model {name!r}; the models are {', '.join(spec.name for spec in MODELS)}")
