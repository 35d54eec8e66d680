"""High dynamic range to BT.709: what a display of SDR white shows of PQ (SMPTE ST 2084) and HLG (ITU-R BT.2100).

    PQ     L = 10000 (max(E^(1/m2) - c1, 0) / (c2 - c3 E^(1/m2)))^(1/m1) cd/m2             (ST 2084, equation 4.1)
    HLG    L = 1000 Y^0.2 S, S the inverse of BT.2100's OETF, Y = 0.2627 R + 0.678 G + 0.0593 B   (BT.2100, table 5)

in BT.709's primaries (BT.2087, section 3). The largest component is bent by the EETF of BT.2390 (section 5.4.1), from
the video's peak down to HDR's reference white of 203 cd/m2 (BT.2408), the others in proportion, so that hues stay. The
peak is what PQ's metadata say, else 1000 cd/m2; HLG is that of a display of 1000 cd/m2.
What is outside of BT.709's gamut is cut off. SDR's levels are those of a display of gamma 2.4 (BT.1886).

The way back, for what stands behind a subject, puts SDR's white at 203 cd/m2 and bends nothing; nor does the way from
one high dynamic range to another, which keeps the light.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor

from birefnet_batch.matting.composite import lifted
from birefnet_batch.matting.constants import constant
from birefnet_batch.matting.levels import full_scale
from birefnet_batch.video.info import BT2020, HLG, PQ

PEAK = 1000.0
"""cd/m2 that are mapped to SDR's white where nothing says more; brighter light is cut off there."""
_LEAST_PEAK, _MOST_PEAK = 400.0, 10000.0
WHITE = 203.0
"""cd/m2 of HDR's reference white, which SDR's white stands for."""
_PQ_PEAK = 10000.0
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA = 1.2
_LUMINANCE_2020 = (0.2627, 0.6780, 0.0593)
_TO_709 = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))
_TO_2020 = ((0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956))
_SDR_GAMMA = 2.4
# Of a strip of so many rows the floats stay in a processor's cache.
_CPU_ROWS = 64


def to_sdr(
    frames: Tensor, transfer: int, primaries: int, peak: float | None = None, alpha: Tensor | None = None
) -> Tensor:
    """Map frames to BT.709.

    Args:
        frames: (B, H, W, 3) uint16 RGB, as coded.
        transfer: PQ's or HLG's number in ITU-T H.273.
        primaries: their number; of any but BT.2020's the gamut is left as it is.
        peak: the brightest light of PQ in cd/m2, taken for 400 at least and 10000 at most; None is `PEAK`.
        alpha: (B, 1, H, W) uint16, of frames that were laid over black with it. Their own colours are mapped and then
            laid over black again: a curve of what was mixed is not what is mixed of the curve's.

    Returns:
        (B, H, W, 3) uint8 RGB.
    """
    top = PEAK if peak is None or transfer == HLG else min(max(peak, _LEAST_PEAK), _MOST_PEAK)
    light_of = _light(transfer, frames.device)
    luminance = constant(_LUMINANCE_2020, frames.device)
    gamut = constant(_TO_709, frames.device).T
    made = torch.empty(frames.shape, dtype=torch.uint8, device=frames.device)
    strip = _CPU_ROWS if frames.device.type == "cpu" else frames.shape[1]
    most = full_scale(frames)
    mixed: Iterable[Tensor | None] = [None] * len(frames) if alpha is None else alpha[:, 0, :, :, None]
    for frame, result, own in zip(frames, made, mixed, strict=True):
        for at in range(0, len(frame), strip):
            rows, shown = frame[at : at + strip], result[at : at + strip]
            part = None if own is None else own[at : at + strip].float().div_(most)
            if part is not None:
                rows = lifted(rows.float().div_(most), part).mul_(most).add_(0.5)
            light = _displayed(light_of[rows.to(torch.int32)], transfer, luminance)
            if primaries == BT2020:
                light = light @ gamut
            light.clamp_(min=0)
            brightest = light.amax(dim=-1, keepdim=True).clamp_(min=1e-6)
            light *= bent(brightest, top).div_(brightest * WHITE)
            coded = light.clamp_(0, 1).pow_(1 / _SDR_GAMMA)
            if part is not None:
                coded *= part
            shown.copy_(coded.mul_(full_scale(shown)).add_(0.5))
    return made


def from_sdr(picture: Tensor, transfer: int, primaries: int) -> Tensor:
    """Show BT.709 colours as they are in a video of another transfer function or other primaries.

    Args:
        picture: (..., 3, H, W) or (3,) float in [0, 1], as coded.
        transfer: the video's number in ITU-T H.273; of any but PQ's and HLG's the levels are taken for SDR's.
        primaries: their number; of any but BT.2020's the gamut is left as it is.

    Returns:
        The same shape and range, as the video codes it.
    """
    light = (picture[:, None, None] if picture.ndim == 1 else picture).pow(_SDR_GAMMA)
    if primaries == BT2020:
        light = torch.einsum("ij,...jhw->...ihw", constant(_TO_2020, light.device), light).clamp_(0, 1)
    return _coded(light, transfer).view(picture.shape)


def between(
    frames: Tensor, transfer: int, primaries: int, peak: float | None, wanted: int, wanted_primaries: int
) -> Tensor:
    """Show frames of a high dynamic range in another video.

    Args:
        frames: (B, H, W, 3) uint16 RGB, as coded.
        transfer: see `to_sdr`, as are `primaries` and `peak`.
        wanted: the other video's transfer function, by its number in ITU-T H.273: to any but PQ's and HLG's they are
            tone-mapped.
        wanted_primaries: its primaries.

    Returns:
        (B, 3, H, W) float in [0, 1], as the other video codes it.
    """
    if wanted not in (PQ, HLG):
        shown = to_sdr(frames, transfer, primaries, peak).permute(0, 3, 1, 2).float().div_(255)
        return from_sdr(shown, wanted, wanted_primaries) if wanted_primaries == BT2020 else shown
    if (transfer, primaries) == (wanted, wanted_primaries):
        return frames.permute(0, 3, 1, 2).float().div_(65535)
    light = _light(transfer, frames.device)[frames.to(torch.int32)]
    light = _displayed(light, transfer, constant(_LUMINANCE_2020, light.device))
    if primaries != wanted_primaries and BT2020 in (primaries, wanted_primaries):
        light = (light @ constant(_TO_709 if primaries == BT2020 else _TO_2020, light.device).T).clamp_(min=0)
    return _coded(light.permute(0, 3, 1, 2).div_(WHITE), wanted)


def _displayed(light: Tensor, transfer: int, luminance: Tensor) -> Tensor:
    """What `_light` gives, (..., 3), as a display's cd/m2; in place."""
    if transfer == HLG:
        light *= PEAK * (light @ luminance).pow_(_HLG_GAMMA - 1)[..., None]
    return light


def _coded(light: Tensor, transfer: int) -> Tensor:
    """Light (..., 3, H, W), SDR's white of which is 1, as a video's values in [0, 1]."""
    if transfer == PQ:
        coded = light_to_pq(light * WHITE)
    elif transfer == HLG:
        weights = constant(_LUMINANCE_2020, light.device).view(3, 1, 1)
        shown = light * (WHITE / PEAK)
        luminance = (shown * weights).sum(dim=-3, keepdim=True).clamp_(min=1e-9)
        scene = shown * luminance.pow(1 / _HLG_GAMMA - 1)
        dark, bright = (3 * scene).sqrt(), _A * (12 * scene - _B).clamp_(min=1e-9).log() + _C
        coded = torch.where(scene <= 1 / 12, dark, bright)
    else:
        coded = light.pow(1 / _SDR_GAMMA)
    return coded.clamp_(0, 1)


def pq_to_light(values: Tensor) -> Tensor:
    """PQ's values in [0, 1] to cd/m2."""
    root = values.pow(1 / _M2)
    return (root - _C1).clamp_(min=0).div_(_C2 - _C3 * root).pow_(1 / _M1).mul_(_PQ_PEAK)


def light_to_pq(light: Tensor) -> Tensor:
    """The inverse."""
    power = (light / _PQ_PEAK).pow_(_M1)
    return (_C1 + _C2 * power).div_(1 + _C3 * power).pow_(_M2)


def bent(light: Tensor, peak: float = PEAK) -> Tensor:
    """BT.2390's EETF from 0 to `peak` cd/m2 down to 0 to `WHITE`: unchanged up to the knee, then a Hermite spline."""
    top, most = _ends(peak)
    knee = 1.5 * most - 0.5
    value = light_to_pq(light).div_(top).clamp_(max=1)
    t = (value - knee).div_(1 - knee)
    t2, t3 = t * t, t * t * t
    spline = (2 * t3 - 3 * t2 + 1) * knee + (t3 - 2 * t2 + t) * (1 - knee) + (3 * t2 - 2 * t3) * most
    return pq_to_light(torch.where(value < knee, value, spline).mul_(top))


@cache
def _ends(peak: float) -> tuple[float, float]:
    """The peak in PQ's values, and `WHITE` in parts of that."""
    top, white = light_to_pq(torch.tensor((peak, WHITE), dtype=torch.float64)).tolist()
    return top, white / top


@cache
def _light(transfer: int, device: torch.device) -> Tensor:
    """Light by level of 16 bits: cd/m2, or of HLG the scene's, from 0 to 1."""
    light = torch.arange(65536, dtype=torch.float64) / 65535
    if transfer == HLG:
        light = torch.where(light <= 0.5, light * light / 3, (((light - _C) / _A).exp() + _B) / 12)
    else:
        light = pq_to_light(light)
    return light.float().to(device)
