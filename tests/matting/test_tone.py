"""High dynamic range as BT.709."""

from __future__ import annotations

import pytest
import torch

from birefnet_batch.matting.tone import PEAK, WHITE, bent, between, from_sdr, light_to_pq, pq_to_light, to_sdr
from birefnet_batch.video.info import BT709, BT2020, HLG, PQ


def coded(light: torch.Tensor) -> torch.Tensor:
    """Colours (N, 3) in cd/m2 as PQ's levels (1, 1, N, 3)."""
    return (light_to_pq(light.double()) * 65535).round().to(torch.uint16)[None, None]


def greys(light: torch.Tensor) -> torch.Tensor:
    return light[:, None].repeat(1, 3)


@pytest.mark.parametrize(("light", "value"), [(0, 0.0), (100, 0.5081), (203, 0.5807), (1000, 0.7518), (10000, 1.0)])
def test_pq_is_that_of_st_2084(light: float, value: float) -> None:
    # The values are BT.2408's and ST 2084's.
    given = torch.tensor(light, dtype=torch.float64)
    assert light_to_pq(given).item() == pytest.approx(value, abs=1e-4)
    assert pq_to_light(light_to_pq(given)).item() == pytest.approx(light, rel=1e-6, abs=1e-6)


def test_shadows_are_shown_as_they_are_and_the_peak_is_white() -> None:
    light = torch.tensor([0.0, 1.0, 20.0, 50.0, 80.0])
    shown = to_sdr(coded(greys(light)), PQ, BT2020)[0, 0]
    wanted = (light / WHITE).pow(1 / 2.4).mul(255).round()
    assert (shown.float() - wanted[:, None]).abs().max() <= 1
    assert to_sdr(coded(greys(torch.tensor([PEAK, 4000.0, 10000.0]))), PQ, BT2020).unique().tolist() == [255]


def test_brighter_light_is_never_shown_darker_and_greys_stay_grey() -> None:
    light = torch.logspace(-2, 4, 500)
    shown = to_sdr(coded(greys(light)), PQ, BT2020)[0, 0].int()
    assert (shown.diff(dim=0) >= 0).all()
    assert (shown.amax(dim=1) - shown.amin(dim=1)).max() <= 1
    assert (bent(light.double()) <= WHITE * (1 + 1e-9)).all()


def test_hlg_and_pq_of_the_same_light_look_the_same() -> None:
    # 75 % of HLG is reference white, 203 cd/m2, on a display of 1000 (BT.2408).
    hlg = torch.full((1, 1, 1, 3), round(0.75 * 65535), dtype=torch.int32).to(torch.uint16)
    same = coded(greys(torch.tensor([203.0])))
    assert (to_sdr(hlg, HLG, BT2020).int() - to_sdr(same, PQ, BT2020).int()).abs().max() <= 1


def test_colours_of_bt709_in_bt2020_come_back() -> None:
    # A dim red, green and blue of BT.709, given in BT.2020's primaries (BT.2087).
    to_2020 = torch.tensor([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    light = 60 * torch.eye(3) @ to_2020.T
    shown = to_sdr(coded(light), PQ, BT2020)[0, 0].int()
    wanted = (torch.eye(3) * (60 / WHITE) ** (1 / 2.4) * 255).round().int()
    # Next to black a level is a tiny amount of light.
    assert (shown - wanted).abs().diagonal().max() <= 1
    assert shown[wanted == 0].max() <= 16
    assert (to_sdr(coded(60 * torch.eye(3)), PQ, BT709)[0, 0].int() - wanted).abs().max() <= 1


def test_sdr_white_is_reference_white_in_pq_and_hlg() -> None:
    # BT.2408: 203 cd/m2, 58 % of PQ and 75 % of HLG; BT.2035's SDR black is black.
    white = torch.ones(3)
    assert from_sdr(white, PQ, BT2020) == pytest.approx(0.5807, abs=1e-3)
    assert from_sdr(white, HLG, BT2020) == pytest.approx(0.75, abs=2e-3)
    assert from_sdr(torch.zeros(3), PQ, BT2020).max() < 1e-6
    assert from_sdr(torch.zeros(3), HLG, BT2020).max() < 1e-4


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_what_is_behind_looks_the_same_after_it_was_laid_into_a_high_dynamic_range(transfer: int) -> None:
    # Below the knee of the tone mapping, where nothing is bent.
    picture = torch.rand((2, 3, 5, 7), generator=torch.Generator().manual_seed(4)).mul_(0.45).add_(0.15)
    laid = from_sdr(picture, transfer, BT2020).permute(0, 2, 3, 1)
    seen = to_sdr((laid * 65535).round().to(torch.int32).to(torch.uint16), transfer, BT2020).float() / 255
    assert (seen - picture.permute(0, 2, 3, 1)).abs().max() <= 2.5 / 255


def test_a_wide_gamut_of_sdr_gets_its_own_primaries() -> None:
    red = from_sdr(torch.tensor((1.0, 0.0, 0.0)), BT709, BT2020)
    wanted = torch.tensor((0.6274, 0.0691, 0.0164)).pow(1 / 2.4)
    assert (red - wanted).abs().max() <= 1e-3
    assert (from_sdr(torch.full((3,), 0.5), BT709, BT2020) - 0.5).abs().max() <= 1e-3


@pytest.mark.parametrize("peak", [600.0, 4000.0])
def test_the_peak_of_the_metadata_is_white_and_light_below_it_is_not(peak: float) -> None:
    light = greys(torch.tensor([1.0, 20.0, 0.4 * peak, peak, 2 * peak]))
    dark, dim, bright, most, more = to_sdr(coded(light), PQ, BT2020, peak)[0, 0, :, 0].tolist()
    assert (dark, dim) == tuple(round(255 * (cd / WHITE) ** (1 / 2.4)) for cd in (1.0, 20.0))
    assert bright < most == more == 255


@pytest.mark.parametrize("wanted", [PQ, HLG])
@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("primaries", [BT709, BT2020])
def test_light_stays_from_one_high_dynamic_range_to_another(transfer: int, wanted: int, primaries: int) -> None:
    picture = torch.rand((2, 3, 5, 7), generator=torch.Generator().manual_seed(4)).mul_(0.8).add_(0.1)
    given = from_sdr(picture, transfer, primaries).permute(0, 2, 3, 1).mul(65535).round().to(torch.int32)
    made = between(given.to(torch.uint16), transfer, primaries, None, wanted, BT2020)
    # Matrices of four digits and 16 bits on the way.
    assert (made - from_sdr(picture, wanted, BT2020)).abs().max() < 2e-3


def test_a_video_of_less_range_gets_it_tone_mapped() -> None:
    levels = coded(greys(torch.logspace(0, 4, 50)))
    shown = to_sdr(levels, PQ, BT2020, 2000.0).permute(0, 3, 1, 2) / 255
    assert torch.equal(between(levels, PQ, BT2020, 2000.0, BT709, BT709), shown)
    assert torch.equal(between(levels, PQ, BT2020, 2000.0, BT709, BT2020), from_sdr(shown, BT709, BT2020))


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("rows", [2, 70])
def test_what_lies_over_black_has_the_light_of_its_own_colours(transfer: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(3)
    own = torch.randint(0, 65536, (2, rows, 8, 3), generator=generator).float()
    alpha = torch.randint(4096, 65536, (2, 1, rows, 8), generator=generator).float()
    alpha[0, 0, 0, 0] = 0
    parts = alpha[:, 0, :, :, None] / 65535
    given = (own * parts).round().to(torch.uint16), transfer, BT2020
    found = to_sdr(*given, alpha=alpha.to(torch.uint16)).float()
    wanted = to_sdr(own.to(torch.uint16), transfer, BT2020).float() * parts
    assert (found - wanted).abs().max() <= 1
    assert found[0, 0, 0].tolist() == [0, 0, 0]
    assert (to_sdr(*given).float() - wanted).abs().max() > 20
