"""The demo model's held-out material is of families that it was never trained on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from demo_model.backgrounds_split import is_held_out
from demo_model.families import emoji_family, held_out


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1f1e9-1f1ea", "1f1eb-1f1f7"),  # two countries' flags
        ("1f44d", "1f44d-1f3fd"),  # skin tones of one hand
        ("1f9d1-200d-1f680", "1f469-1f3ff-200d-1f680"),  # astronauts
        ("2764", "1f499"),  # hearts of two colours
        ("1f550", "1f55f"),  # clock faces
        ("1f468-200d-2764-fe0f-200d-1f468", "1f469-200d-2764-fe0f-200d-1f468"),  # couples
        ("1f7e0", "1f7e3"),  # discs of two colours
    ],
)
def test_copies_of_one_picture_are_of_one_family(one: str, other: str):
    assert emoji_family(one) == emoji_family(other)


def test_different_things_are_of_different_families():
    things = ["1f989", "1f405", "1f3cd", "1f9b8", "1f680", "1f34e"]
    assert len({emoji_family(thing) for thing in things}) == len(things)


def test_some_families_and_backgrounds_are_held_out_and_most_are_not():
    families = [f"object random_urdfs/{index:03d}/{index:03d}.urdf" for index in range(0, 1000, 2)]
    assert 0.08 < sum(map(held_out, families)) / len(families) < 0.18
    assert is_held_out("venice")
    assert is_held_out("held-out procedural 3")
    assert not is_held_out("procedural 3")
