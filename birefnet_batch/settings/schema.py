"""The settings as Hydra and `--help` have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from birefnet_batch.config_errors import no_setting
from birefnet_batch.settings.fields import plain
from birefnet_batch.settings.run import Settings

if TYPE_CHECKING:
    from omegaconf import DictConfig


def schema_node() -> DictConfig:
    """The settings as the schema node that Hydra merges `conf/` into.

    OmegaConf makes nodes of frozen dataclasses read-only, which would refuse every override.
    """
    from omegaconf import DictConfig, OmegaConf

    node: DictConfig = OmegaConf.structured(Settings)

    def unfreeze(config: DictConfig) -> None:
        OmegaConf.set_readonly(config, None)
        for key in config:
            child = config._get_node(key)
            if isinstance(child, DictConfig):
                unfreeze(child)

    unfreeze(node)
    # The libraries' options are theirs: any key may be given, without Hydra's `+`.
    OmegaConf.set_struct(node.storage.options, False)
    # So are Ray's fields and the names of a cluster's resources.
    for mapping in (node.executor.runtime_env, node.executor.resources):
        OmegaConf.set_struct(mapping, False)
    return node


def unknown_keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys that were appended (`+key=...`) to settings that do not have them."""
    from omegaconf import DictConfig, OmegaConf

    kind = OmegaConf.get_type(config)
    known = [item.name for item in fields(kind)] if is_dataclass(kind) else None
    for key in map(str, config):
        if known is not None and key not in known:
            yield no_setting(f"{prefix}{key}")
            continue
        child = config._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            yield from unknown_keys(child, f"{prefix}{key}.")


def describe(cls: type = Settings, prefix: str = "") -> list[tuple[str, str, str]]:
    """One (key, default, help) for each setting below `cls`, in order, groups opened."""
    rows: list[tuple[str, str, str]] = []
    for item in fields(cls):
        default = item.default_factory() if callable(item.default_factory) else item.default
        if is_dataclass(default):
            rows += describe(type(default), f"{prefix}{item.name}.")
        elif item.metadata.get("entry") is not None:
            rows += describe(item.metadata["entry"], f"{prefix}{item.name}.NAME.")
        elif isinstance(default, dict):
            place, shown = ("MODEL", "null") if default else (item.metadata["keys"], "none")
            rows.append((f"{prefix}{item.name}.{place}", shown, item.metadata["help"]))
        elif isinstance(default, list):
            rows.append((f"{prefix}{item.name}", f"[{','.join(default)}]", item.metadata["help"]))
        else:
            shown = plain(default)
            text = "null" if shown is None else str(shown).lower() if isinstance(shown, bool) else str(shown)
            rows.append((f"{prefix}{item.name}", text, item.metadata["help"]))
    return rows
