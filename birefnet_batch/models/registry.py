"""Which models there are: those of models.yaml, and a user's own entries of the `models` setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from birefnet_batch.errors import ProblemsError
from birefnet_batch.models.entries import ModelEntry, entry_of, spec_of
from birefnet_batch.models.spec import ModelSpec

__all__ = ["MODELS", "SHIPPED", "Catalogue", "ModelEntry", "ModelSpec", "find_model"]


@dataclass(frozen=True)
class Catalogue:
    """The models that a request can name."""

    models: tuple[ModelSpec, ...]

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self.models)

    def find(self, name: str) -> ModelSpec:
        """The model with this name, as requests say it or short.

        Raises:
            KeyError: there is none; a validated request names one.
        """
        for spec in self.models:
            if name in (spec.name, spec.short_name):
                return spec
        raise KeyError(f"there is no model {name!r}; the models are {', '.join(self.names)}")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What requests call the models, in order."""
        return tuple(spec.name for spec in self.models)

    @cached_property
    def short_names(self) -> dict[str, str]:
        """From the short names to those that requests use."""
        return {spec.short_name: spec.name for spec in self.models}

    def with_entries(self, entries: Mapping[str, Any]) -> Catalogue:
        """These models and a user's own.

        Args:
            entries: by short name a ModelEntry, or a mapping of its fields.

        Raises:
            ProblemsError: what is wrong with them, everything at once.
        """
        made: list[ModelSpec] = []
        problems: list[str] = []
        taken = {name.lower() for spec in self.models for name in (spec.name, spec.short_name)}
        for key, value in entries.items():
            entry, wrong = entry_of(key, value)
            problems += wrong
            if entry is None:
                continue
            spec, wrong = spec_of(key, entry)
            problems += wrong
            if not entry.weights:
                problems.append(f"models.{key}.weights is missing; give a file, a folder or owner/name@revision")
            names = {key.lower(), (entry.name or key).lower()}
            if names & taken:
                problems.append(
                    f"models.{key}: {', '.join(sorted(names & taken))} is the name of another model; choose another, "
                    "or give weights.MODEL to change a model's checkpoint"
                )
            taken |= names
            if spec is not None:
                made.append(spec)
        if problems:
            raise ProblemsError("The models have problems", problems)
        return Catalogue((*self.models, *made)) if made else self


def _shipped() -> Catalogue:
    data = yaml.safe_load((Path(__file__).parent / "models.yaml").read_text("utf-8"))
    specs: list[ModelSpec] = []
    for key, fields in data.items():
        spec, problems = spec_of(key, ModelEntry(**fields))
        if spec is None:
            raise AssertionError(f"models.yaml: {problems}")
        specs.append(spec)
    return Catalogue(tuple(specs))


SHIPPED = _shipped()
"""The six models of the API, and Demo."""
MODELS = SHIPPED.models


def find_model(name: str) -> ModelSpec:
    """The shipped model with this name, in the API's spelling or short.

    Raises:
        KeyError: there is none.
    """
    return SHIPPED.find(name)
