"""The files that settings name, from another working folder than the one that they were given in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.uris import user_path


def with_absolute_paths(plain: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The plain settings, with absolute paths where they name files of that folder."""
    engine, media, models = ({**plain.get(name, {})} for name in ("engine", "media", "models"))
    engine |= {name: _file(engine.get(name), folder) for name in ("store", "shared_store") if name in engine}
    if Path(str(media.get("background", ""))).suffix:
        media["background"] = _file(media["background"], folder)
    for name, entry in models.items():
        if isinstance(entry, dict) and "weights" in entry:
            models[name] = {**entry, "weights": _file(entry["weights"], folder)}
    found = {**plain, "engine": engine, "media": media, "models": models}
    if "weights" in plain:
        found["weights"] = {name: _file(value, folder) for name, value in plain["weights"].items()}
    if "weights_folder" in plain:
        found["weights_folder"] = _file(plain["weights_folder"], folder)
    return found


def _file(value: Any, folder: Path) -> Any:
    """What names neither a file nor a folder there is something else: a hub repository, or a place to be made."""
    if not isinstance(value, str) or not value or scheme_of(value):
        return value
    path = folder / user_path(value)
    return str(path) if os.path.exists(path) else value  # noqa: PTH110  Path.exists raises for names that are too long
