"""The demo model's held-out material is of families that it was never trained on."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from demo_model import travel
from demo_model.backgrounds_split import is_held_out
from demo_model.families import emoji_family, held_out, published
from demo_model.qt_resources import read
from demo_model.recipe import Recipe
from demo_model.rings import without_rings
from demo_model.surfaces import points, textured
from demo_model.travel import pack, unpack
from demo_model.weights import export, load

from birefnet_batch.models import build_network


@pytest.mark.parametrize(
    "stem",
    [
        "1f1e9-1f1ea",
        "1f3f4-e0067_e0062_e0073_e0063_e0074",
        "1f468-200d-1f469-200d-1f466",
        "1f9d1-1f3fb-200d-1f91d-200d-1f9d1-1f3fb",
        "1f46f-200d-2640-fe0f",
        "1f469-1f3fd-200d-1f4bb",
        "1f4ce",
        "1f426-200d-2b1b",
    ],
)
def test_pictures_whose_source_the_package_of_emoji_does_not_name_are_left_out(stem: str):
    assert not published(stem)


@pytest.mark.parametrize(
    "stem", ["1f600", "2640-fe0f", "1f3f3-fe0f", "1f469-1f3fd-200d-1f680", "1f44d-1f3fd", "0023-fe0f-20e3"]
)
def test_pictures_that_microsoft_publishes_are_taken(stem: str):
    assert published(stem)


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


def test_channels_of_large_variance_survive_the_export_to_float16(tmp_path):
    torch.manual_seed(3)
    network = build_network("demo").eval()
    norm = network.decoder.decoder_block4.bn_in
    norm.running_var.copy_(torch.linspace(1, 900_000, norm.num_features))
    norm.running_mean.copy_(torch.linspace(-700, 700, norm.num_features))
    with torch.no_grad():
        network.decoder.decoder_block4.conv_in.weight.mul_(2000)
    image = torch.rand(1, 3, 64, 64)
    export(network, tmp_path / "demo.safetensors")
    exported = load(tmp_path / "demo.safetensors")
    assert exported.decoder.decoder_block4.bn_in.running_var.max() <= 1024
    with torch.inference_mode():
        wanted, found = network(image), exported(image)
    assert (wanted - found).abs().max() < 0.01 * wanted.abs().max()
    assert all(value.half().isfinite().all() for value in exported.state_dict().values() if value.is_floating_point())


def test_black_outlines_around_lamps_are_filled_and_dark_things_elsewhere_stay():
    light = np.full((64, 64, 3), 0.3, np.float32)
    light[10:20, 10:20] = -0.01
    light[12:18, 12:18] = 50
    light[40:60, 40:44] = 0.001
    mended = without_rings(light)
    assert mended[8:22, 8:22].min() >= 0.29
    assert (mended[12:18, 12:18] == 50).all()
    assert (mended[40:60, 40:44] == np.float32(0.001)).all()


def test_a_cache_made_by_other_code_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr("demo_model.recipe.CACHE", tmp_path)
    recipe = Recipe("subjects", ("textures",))
    assert not recipe.followed()
    recipe.note()
    assert Recipe("subjects", ("textures",)).followed()
    assert not Recipe("subjects", ("textures", "rings")).followed()
    assert not Recipe("backgrounds", ("textures",)).followed()


def test_pixels_are_found_in_the_world_again_by_their_depth():
    near, far = 0.1, 10.0
    projection = np.array(
        [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, (near + far) / (near - far), 2 * near * far / (near - far)], [0, 0, -1, 0]]
    )
    view = np.array([[0, 1, 0, 0.3], [0, 0, 1, -0.2], [1, 0, 0, -4], [0, 0, 0, 1.0]])
    depth = np.random.default_rng(1).uniform(0.5, 0.99, (6, 8))
    clip = np.concatenate((points(depth, view, projection), np.ones((6, 8, 1))), axis=-1) @ (projection @ view).T
    seen = clip[..., :3] / clip[..., 3:]
    np.testing.assert_allclose((seen[..., 0] + 1) / 2 * 8, np.tile(np.arange(8) + 0.5, (6, 1)))
    np.testing.assert_allclose((1 - seen[..., 1]) / 2 * 6, np.tile(np.arange(6)[:, None] + 0.5, (1, 8)))
    np.testing.assert_allclose((seen[..., 2] + 1) / 2, depth)


@pytest.mark.parametrize("axis", range(3))
def test_a_surface_lies_over_an_object_from_every_direction_and_keeps_its_shadows(axis):
    side = 64
    across, down = np.meshgrid(np.linspace(-1, 1, side), np.linspace(1, -1, side))
    places = np.insert(np.stack((across, down), axis=-1), axis, 0.4, axis=-1)
    light = np.full((side, side, 3), 150, np.float32)
    light[:, :10] = 0
    laid = textured(light, places, 1.0, np.random.default_rng(5))
    assert laid[:, 10:].std(axis=(0, 1)).max() > 5
    assert (laid[:, :10] == 0).all()
    again = textured(light, places[:, ::-1], 1.0, np.random.default_rng(5))
    # It belongs to the object: the same places have the same colours wherever they are seen.
    np.testing.assert_allclose(again[:, 10:-10], laid[:, 10:-10][:, ::-1])


def _packed(path: Path, content: bytes, compressed: bool) -> None:
    """Write a Qt resource file, version 2, that holds `content` as folder/picture."""
    names, offsets = b"", []
    for name in ("folder", "picture"):
        offsets.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    stored = struct.pack(">I", len(content)) + zlib.compress(content) if compressed else content
    data = struct.pack(">I", len(stored)) + stored
    nodes = [
        struct.pack(">IHIIQ", 0, 2, 1, 1, 0),
        struct.pack(">IHIIQ", offsets[0], 2, 1, 2, 0),
        struct.pack(">IHHHIQ", offsets[1], int(compressed), 0, 1, 0, 0),
    ]
    head = 20
    tree = head + len(data) + len(names)
    path.write_bytes(struct.pack(">4s4I", b"qres", 2, tree, head, head + len(data)) + data + names + b"".join(nodes))


@pytest.mark.parametrize("compressed", [False, True])
def test_pictures_are_read_out_of_qt_resource_files(tmp_path, compressed):
    _packed(tmp_path / "a.rcc", b"a picture" * 9, compressed)
    assert read(tmp_path / "a.rcc", "folder/picture") == b"a picture" * 9
    with pytest.raises(SystemExit, match="holds no folder/other"):
        read(tmp_path / "a.rcc", "folder/other")


def test_material_that_travelled_is_in_its_order_and_has_the_same_alpha(tmp_path, monkeypatch):
    y, x = np.mgrid[:64, :64].astype(np.uint8)
    subjects = np.stack([np.stack((3 * x, 2 * y, x + y, np.where(x >= n, 255, 4 * y)), -1) for n in range(3)])
    backgrounds = {f"{name} 1": np.stack((x, y, 3 * x), -1)[: 32 + n] for n, name in enumerate(("venice", "alps"))}
    monkeypatch.setattr(travel, "CACHE", tmp_path)
    np.save(tmp_path / "subjects.npy", subjects)
    np.savez(tmp_path / "backgrounds.npz", **backgrounds)
    (tmp_path / "subjects.json").write_text(json.dumps(["1f34e", "1f34e", "2603"]))
    pack(tmp_path / "material.zip")
    monkeypatch.setattr(travel, "CACHE", tmp_path / "there")
    unpack(tmp_path / "material.zip")
    made = np.load(tmp_path / "there" / "subjects.npy")
    assert np.array_equal(made[..., 3], subjects[..., 3])
    assert np.abs(made.astype(int) - subjects)[subjects[..., 3] > 0].mean() < 3
    photos = np.load(tmp_path / "there" / "backgrounds.npz")
    assert {name: photos[name].shape for name in photos.files} == {n: b.shape for n, b in backgrounds.items()}
    assert photos.files == list(backgrounds)
    assert json.loads((tmp_path / "there" / "subjects.json").read_text())[2] == "2603"
