"""A name that is given twice is said, wherever a document has it: libraries keep the last value without a word."""

from __future__ import annotations

import pytest

from birefnet_batch.repeated_names import load_json, load_yaml


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model: light\nmodel: heavy\n", r"it has model twice; give each name once \(line 1\)"),
        ("models:\n  own:\n    weights: a\n    weights: b\n", r"it has weights twice; .* \(line 3\)"),
        ("- a: 1\n- {b: 1, b: 2}\n", r"it has b twice; .* \(line 2\)"),
    ],
)
def test_a_name_given_twice_anywhere_in_yaml_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load_yaml(text)


def test_a_name_given_twice_anywhere_in_json_is_an_error() -> None:
    with pytest.raises(ValueError, match="it has b twice"):
        load_json('{"a": [{"b": 1, "b": 2}]}')


def test_values_that_are_merged_in_may_be_given_again() -> None:
    text = "base: &base {model: light, mask: true}\none: &one {<<: *base, model: heavy}\ntwo: {<<: *one, model: own}\n"
    found = load_yaml(text)
    assert found["one"] == {"model": "heavy", "mask": True}
    assert found["two"] == {"model": "own", "mask": True}


@pytest.mark.parametrize("text", ["", "# nothing\n", "a: &a [*a]\n"])
def test_documents_without_an_end_or_a_beginning_are_read(text: str) -> None:
    load_yaml(text)
