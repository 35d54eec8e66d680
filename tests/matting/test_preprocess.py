"""Frames become what the network was trained on; logits become mattes of the frame's size."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from birefnet_batch.matting import frames_to_input, logits_to_matte

MEAN = np.array((0.485, 0.456, 0.406))
STD = np.array((0.229, 0.224, 0.225))


def test_frames_are_stretched_with_antialiasing_and_normalised():
    frame = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    found = frames_to_input(torch.from_numpy(frame)[None], width=64, height=32)
    # Pillow's bilinear filter is an independent antialiased one; it rounds to bytes.
    resized = np.asarray(Image.fromarray(frame).resize((64, 32), Image.Resampling.BILINEAR)) / 255
    assert found.shape == (1, 3, 32, 64)
    assert found.dtype == torch.float32
    back = found[0].permute(1, 2, 0).numpy() * STD + MEAN
    assert np.abs(back - resized).max() <= 1.01 / 255


def test_a_frame_of_the_operating_resolution_is_not_resampled():
    frame = np.random.default_rng(1).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    found = frames_to_input(torch.from_numpy(frame)[None], width=64, height=32)
    back = found[0].permute(1, 2, 0).numpy() * STD + MEAN
    np.testing.assert_allclose(back, frame / 255, atol=1e-6)


def test_a_confident_logit_stays_what_it_is_whatever_else_the_frame_holds():
    logits = torch.full((1, 1, 8, 8), -2.0)
    matte = logits_to_matte(logits, 24, 16)
    assert matte.shape == (1, 1, 16, 24)
    torch.testing.assert_close(matte, torch.full((1, 1, 16, 24), 0.11920292), atol=1e-6, rtol=0)


def test_half_precision_logits_give_a_float_matte():
    matte = logits_to_matte(torch.randn(2, 1, 8, 8).half(), 8, 8)
    assert matte.dtype == torch.float32
    assert ((matte >= 0) & (matte <= 1)).all()
