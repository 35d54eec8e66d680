"""The shipped model cuts out the shipped clips, and finds nothing where nothing is."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clips import read_frames
from numpy.typing import NDArray

from birefnet_batch.conf_folder import demo_clips
from birefnet_batch.engines import Engine, open_engine
from birefnet_batch.matting import frames_to_input, logits_to_matte
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import locate_weights

CLIPS = sorted(path.stem for path in demo_clips().glob("*.mp4"))


@pytest.fixture(scope="module")
def engine():
    model = find_model("demo")
    with open_engine(
        "torch", model=model, weights=locate_weights(model), width=512, height=512, device="cpu"
    ) as opened:
        yield opened


def matte_of(engine: Engine, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    logits = engine.infer(frames_to_input(torch.from_numpy(image)[None], 512, 512))
    return logits_to_matte(logits, image.shape[1], image.shape[0])[0, 0].numpy()


def true_alpha(path: Path) -> NDArray[np.float32]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    return np.stack(frames).astype(np.float32) / 255


def test_there_are_clips_to_show():
    assert len(CLIPS) >= 3


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_has_its_true_alpha_and_the_model_finds_the_subject(engine, name):
    images = read_frames(demo_clips() / f"{name}.mp4").images
    alphas = true_alpha(demo_clips() / f"{name}.alpha.mkv")
    assert alphas.shape == images.shape[:3]
    shown = [index for index in range(0, len(images), 12) if (alphas[index] > 0.5).mean() > 0.02]
    overlaps = []
    for index in shown:
        matte, alpha = matte_of(engine, images[index]) > 0.5, alphas[index] > 0.5
        overlaps.append((matte & alpha).sum() / (matte | alpha).sum())
    assert np.mean(overlaps) >= 0.8


def test_before_the_subject_enters_the_matte_is_empty(engine):
    images = read_frames(demo_clips() / "motorcycle.mp4").images
    alphas = true_alpha(demo_clips() / "motorcycle.alpha.mkv")
    empty = [index for index in range(len(images)) if not alphas[index].any()]
    assert len(empty) >= 6, "one subject enters and leaves"
    means = [matte_of(engine, images[index]).mean() for index in empty[::3]]
    assert np.mean(means) <= 0.03
