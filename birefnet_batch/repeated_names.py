"""Mappings that have a name twice: libraries keep the last of two values, without a word."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from birefnet_batch.url_redaction import redact_value


def repetition(names: Sequence[str]) -> str | None:
    """What is wrong with the names of a mapping, or None."""
    if len(set(names)) == len(names):
        return None
    name = next(name for name in names if names.count(name) > 1)
    return f"it has {redact_value(name)} twice; give each name once"


def repetition_in(node: yaml.Node | None) -> str | None:
    """What is wrong with the names of a YAML mapping, before it is data: merging (`<<`) leaves those of two."""
    if not isinstance(node, yaml.MappingNode):
        return None
    return repetition(
        [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and not key.tag.endswith(":merge")]
    )


def load_yaml(text: str) -> Any:
    """Return what a YAML document says.

    Raises:
        ValueError: a mapping in it has a name twice.
        yaml.YAMLError: it is no YAML; the library fails otherwise too where a value does not fit its tag.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        waiting, known = [] if node is None else [node], {id(node)}
        while waiting:
            one = waiting.pop()
            if bad := repetition_in(one):
                raise ValueError(f"{bad} (line {one.start_mark.line + 1})")
            parts = getattr(one, "value", None)
            for part in parts if isinstance(parts, list) else []:
                inner = [other for other in (part if isinstance(part, tuple) else (part,)) if id(other) not in known]
                known.update(map(id, inner))
                waiting.extend(inner)
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def load_json(text: str) -> Any:
    """Return what a JSON document says.

    Raises:
        ValueError: it is no JSON, or a mapping in it has a name twice.
    """
    return json.loads(text, object_pairs_hook=_without_repetition)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if bad := repetition([name for name, _ in pairs]):
        raise ValueError(bad)
    return dict(pairs)
