"""Groups that a command line chooses beside an experiment, which comes last and has its own way with their settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from birefnet_batch.command_line import given_overrides
from birefnet_batch.errors import ProblemsError
from birefnet_batch.redaction import Redactor

_EXPERIMENT = "experiment"
_MISSING = "???"  # in a group: what somebody else must give


def refuse_overruled_groups(config: DictConfig) -> None:
    """Make sure that the groups of the command line are had.

    Args:
        config: what Hydra composed of it.

    Raises:
        ProblemsError: settings of a group have other values, and no word of the command line gives them.
    """
    if not (HydraConfig.initialized() and GlobalHydra.instance().is_initialized()):
        return
    chosen = dict(HydraConfig.get().runtime.choices)
    # Of several experiments there is no choice on record.
    experiments = [chosen[_EXPERIMENT]] if chosen.get(_EXPERIMENT) else []
    groups, named = [], set[str]()
    for word in given_overrides():
        value = word.value()
        if word.key_or_group == _EXPERIMENT:
            experiments = value if isinstance(value, list) else experiments
        elif word.key_or_group in chosen and isinstance(value, str):
            groups.append(word.key_or_group)
        named.update(_settings({word.key_or_group: value}))
    later = {key: name for name in experiments for key in _of_group(_EXPERIMENT, str(name))}
    composed = _settings(OmegaConf.to_container(config, enum_to_str=True))
    problems = []
    for group in groups:
        choice = f"{group}={chosen[group]}"
        for key, value in _of_group(group, str(chosen[group])).items():
            other = composed.get(key, value)
            if key not in later or key in named or value in (_MISSING, other) or str(value) == str(other):
                continue
            asked, had = Redactor({}).words([f"{key}={_shown(value)}", f"{key}={_shown(other)}"])
            comes_later = f"experiment={later[key]}, which comes later"
            problems.append(
                f"{choice} gives {asked}, and {comes_later}, gives {had}; give {asked}, or leave {choice} out"
            )
    if problems:
        raise ProblemsError("The command line has problems", problems)


def _shown(value: Any) -> str:
    """A value as Hydra reads it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _of_group(group: str, name: str) -> dict[str, Any]:
    """The settings that the file of a group's choice gives."""
    path = f"{group}/{name}"
    sources = GlobalHydra.instance().config_loader().get_sources()
    found = next((source.load_config(path) for source in sources if source.is_config(path)), None)
    if found is None:
        return {}
    package = found.header.get("package")
    plain: Any = OmegaConf.to_container(found.config)
    prefix = "" if package == "_global_" else f"{package or group.replace('/', '.')}."
    own = _settings({key: value for key, value in plain.items() if key != "defaults"}, prefix)
    if group != _EXPERIMENT:
        return own
    # It may build on others of its folder.
    others = [other for other in plain.get("defaults") or [] if isinstance(other, str) and other != "_self_"]
    return {key: value for other in others for key, value in _of_group(group, other).items()} | own


def _settings(plain: Any, prefix: str = "") -> dict[str, Any]:
    """Values by their names with dots, those of mappings one by one."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        inner = _settings(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
        found.update(inner)
    return found
