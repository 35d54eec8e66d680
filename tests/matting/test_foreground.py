"""Foreground estimation: equal to the official one, cheap at any radius, right at edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import REFERENCE

from birefnet_batch.matting import estimate_foreground
from birefnet_batch.matting.foreground import box_mean, estimate_by_arrays
from birefnet_batch.matting.foreground_cpu import fuse


def test_colours_are_those_of_the_official_implementation_away_from_borders():
    golden = np.load(REFERENCE / "foreground_240x320.npz")
    image = torch.from_numpy(golden["image"]).permute(2, 0, 1)[None]
    alpha = torch.from_numpy(golden["alpha"])[None, None]
    found = estimate_foreground(image, alpha)[0].permute(1, 2, 0).numpy()
    # The official box continues the picture past its borders; ours has nothing there.
    margin = 96
    inner = (slice(margin, -margin), slice(margin, -margin))
    assert np.abs(found[inner] - golden["foreground_cpu"][inner]).max() <= 2e-3
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_backgrounds_share_leaves_soft_edges():
    red, green = torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.8, 0.1])
    alpha = ((torch.arange(160) - 80) / 8 + 0.5).clamp(0, 1).expand(1, 1, 120, 160)
    image = red.view(1, 3, 1, 1) * alpha + green.view(1, 3, 1, 1) * (1 - alpha)

    def visible_error(foreground: torch.Tensor) -> float:
        return (alpha * (foreground - red.view(1, 3, 1, 1)).abs()).max().item()

    assert visible_error(image) > 0.19
    assert visible_error(estimate_foreground(image, alpha)) < 0.02


def test_where_the_matte_is_full_the_picture_stays():
    image = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    found = estimate_foreground(image, torch.ones(1, 1, 64, 80))
    torch.testing.assert_close(found, image, atol=1e-4, rtol=0)


def test_an_empty_matte_gives_numbers():
    found = estimate_foreground(torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32))
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("shape", [(1, 3, 5, 7), (2, 3, 100, 3), (1, 3, 1, 1)])
def test_frames_smaller_than_the_box_work(shape):
    image = torch.rand(shape)
    found = estimate_foreground(image, torch.rand(shape[0], 1, *shape[2:]))
    assert found.shape == image.shape
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("side", [1, 2, 6, 7, 90])
def test_the_box_mean_is_the_mean_of_the_box(side):
    planes = torch.rand(2, 3, 120, 100, dtype=torch.float64)
    before, after = side // 2, side - 1 - side // 2
    padded = F.pad(planes, (before, after, before, after))
    counts = F.pad(torch.ones_like(planes), (before, after, before, after))
    wanted = F.avg_pool2d(padded, side, stride=1) / F.avg_pool2d(counts, side, stride=1)
    torch.testing.assert_close(box_mean(planes, side), wanted)


def test_a_nearly_empty_matte_beside_a_full_one_gives_colours_and_no_noise():
    draw = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 60, 1600, generator=draw)
    alpha = torch.where(torch.arange(1600) < 1400, 1.0, 2e-5).expand(1, 1, 60, 1600)
    found, wanted = estimate_by_arrays(image, alpha), estimate_by_arrays(image.double(), alpha.double())
    torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=0)


def test_a_frame_gets_the_same_colours_in_any_batch():
    image, alpha = torch.rand(3, 3, 40, 50), torch.rand(3, 1, 40, 50)
    together = estimate_foreground(image, alpha)
    for index in range(3):
        assert torch.equal(together[index], estimate_foreground(image[index : index + 1], alpha[index : index + 1])[0])


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"image of shape \(1, 3, 8, 8\) and an alpha of shape \(1, 1, 8, 9\)"):
        estimate_foreground(torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 9))


@pytest.mark.parametrize("shape", [(240, 320), (37, 51), (200, 7), (5, 300), (1100, 64)])
def test_the_compiled_form_is_the_formula(shape):
    draw = torch.Generator().manual_seed(1)
    image = torch.rand(2, 3, *shape, generator=draw)
    alpha = (torch.rand(2, 1, *shape, generator=draw) * 3 - 1).clamp(0, 1)
    found = estimate_foreground(image, alpha)
    wanted = estimate_by_arrays(image.double(), alpha.double())
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=0)


def test_bits_do_not_depend_on_the_number_of_threads():
    draw = np.random.default_rng(0)
    image = draw.random((3, 1500, 64), np.float32)
    alpha = (draw.random((1500, 64), np.float32) * 3 - 1).clip(0, 1)
    one, several = (fuse(image, image, image, alpha, 90, threads) for threads in (1, 3))
    for first, second in zip(one, several, strict=True):
        assert np.array_equal(first, second)


def test_a_result_in_the_image_s_place_is_the_same() -> None:
    generator = torch.Generator().manual_seed(5)
    image, alpha = torch.rand(2, 3, 400, 60, generator=generator), torch.rand(2, 1, 400, 60, generator=generator)
    expected = estimate_foreground(image, alpha, 2)
    place = image.data_ptr()
    found = estimate_foreground(image, alpha, 2, in_place=True)
    assert found.data_ptr() == place
    assert torch.equal(found, expected)
