"""A model of the user's own is one entry in YAML: requests, manifests, schema, key and record know it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from clips import make_clip

import birefnet_batch.models
from birefnet_batch import Request, RequestError, Settings
from birefnet_batch.errors import ProblemsError
from birefnet_batch.manifest import load_manifest
from birefnet_batch.schemas import request_schema

ENTRY: dict[str, Any] = {
    "name": "Studio Portraits",
    "network": "demo",
    "weights": "mine.safetensors",
    "native_resolution": "64x64",
    "resolutions": ["64x64", "96x64"],
    "licence": "ours",
}


def with_models(**entries: Any) -> Settings:
    return replace(Settings(), models=entries)


def test_a_seventh_model_runs_end_to_end_from_one_entry(tmp_path: Path):
    shipped = Path(birefnet_batch.models.__file__).parent / "demo" / "demo.safetensors"
    shutil.copy(shipped, tmp_path / "mine.safetensors")
    make_clip(tmp_path / "clip.mp4", frames=2)
    (tmp_path / "conf" / "models").mkdir(parents=True)
    (tmp_path / "conf" / "models" / "studio.yaml").write_text(json.dumps({"studio": ENTRY}))
    (tmp_path / "videos.yaml").write_text(
        "videos:\n"
        "  - {video_url: clip.mp4, model: Studio Portraits}\n"
        "  - {video_url: clip.mp4, model: studio, operating_resolution: 1024x1024}\n"
    )
    words = "--config-dir conf models=studio manifest=videos.yaml on_invalid=skip output=out"
    done = subprocess.run(
        [sys.executable, "-m", "birefnet_batch", *words.split(), "engine.device=cpu", "engine.threads=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr  # for the entry that was skipped
    assert "'1024x1024' is not allowed with Studio Portraits; give 64x64 or 96x64" in done.stderr
    (job,) = (tmp_path / "out" / "jobs").iterdir()
    record = json.loads((job / "job.json").read_text())
    assert record["request"]["model"] == "Studio Portraits"
    assert record["request"]["operating_resolution"] == "64x64"
    assert record["model"]["name"] == "Studio Portraits"
    assert record["model"]["network"] == "demo"
    assert record["model"]["weights"] == "mine.safetensors"
    assert record["model"]["licence"] == "ours"
    assert (job / f"complete-{record['key']}").exists()


def test_requests_manifests_and_schema_take_its_name_and_its_resolutions(tmp_path: Path):
    models = with_models(
        studio=ENTRY, wide={**ENTRY, "name": None, "resolutions": "any", "default_resolution": "512x256"}
    )
    for name in ("studio", "STUDIO", "Studio Portraits"):
        request = Request.from_dict({"video_url": "a.mp4", "model": name}, models.catalogue)
        assert (request.model, request.size) == ("Studio Portraits", (64, 64))
    assert Request.from_dict({"video_url": "a", "model": "wide"}, models.catalogue).size == (512, 256)
    validator = jsonschema.Draft202012Validator(request_schema(models.catalogue))
    for model, resolution, allowed in (
        ("Studio Portraits", "96x64", True),
        ("Studio Portraits", "1024x1024", False),
        ("wide", "256x2304", True),
        ("General Use (Light)", "96x64", False),
    ):
        arguments = {"video_url": "a.mp4", "model": model, "operating_resolution": resolution}
        assert validator.is_valid(arguments) is allowed, arguments
        (tmp_path / "m.json").write_text(json.dumps([arguments]))
        manifest = load_manifest(str(tmp_path / "m.json"), {}, models=models.catalogue)
        assert (not manifest.problems) is allowed, manifest.problems
    with pytest.raises(RequestError, match=r"'studio' is not allowed; give one of 'General Use \(Light\)'"):
        Request.from_dict({"video_url": "a.mp4", "model": "studio"})


def test_what_the_six_mean_is_unchanged_beside_it():
    models = with_models(studio=ENTRY).catalogue
    for spec in Settings().catalogue:
        assert models.find(spec.name) is spec
        assert models.find(spec.short_name) is spec
    for taken in ("light", "demo"):
        with pytest.raises(ProblemsError, match=f"models.{taken}: .*{taken}.* is the name of another model"):
            with_models(**{taken: ENTRY}).validate()
    with pytest.raises(ProblemsError, match="portrait is the name of another model"):
        with_models(mine={**ENTRY, "name": "Portrait"}).validate()


def test_everything_wrong_with_entries_is_said_at_once():
    wrong = with_models(
        Bad={"network": "resnet", "resolutions": ["100x100"], "native_resolution": "big", "licence": 3},
        worse={"wieghts": "x"},
        worst=7,
        small={**ENTRY, "resolutions": ["128x128"]},
        none={},
    )
    with pytest.raises(ProblemsError) as caught:
        wrong.validate()
    said = "\n".join(caught.value.problems)
    for expected in (
        "models.Bad.licence is 3; it must be a text",
        "models.worse.wieghts is no key of a model; it has network, weights, name",
        "models.worst is 7; it must map network, weights",
        "models.small.resolutions do not have 64x64, which requests that name none run at",
        "models.none.network is missing; give swin_v1_l or swin_v1_t or demo",
        "models.none.weights is missing; give a file, a folder or owner/name@revision",
    ):
        assert expected in said
    with pytest.raises(ProblemsError) as caught:
        with_models(
            Bad={"network": "resnet", "resolutions": ["100x100"], "native_resolution": "big", "weights": "x"}
        ).validate()
    said = "\n".join(caught.value.problems)
    for expected in (
        "models.Bad: a key has small letters, digits and underscores",
        "models.Bad.network is resnet; give swin_v1_l",
        "models.Bad.native_resolution: 'big' is not allowed; give WIDTHxHEIGHT with sides from 64 to 4096",
        "models.Bad.resolutions: '100x100' is not allowed",
    ):
        assert expected in said


def test_its_checkpoint_can_be_changed_by_the_weights_setting():
    replace(with_models(studio=ENTRY), weights={"studio": "other.safetensors"}).validate()
    with pytest.raises(ProblemsError, match="weights.studio names no model"):
        replace(Settings(), weights={"studio": "other.safetensors"}).validate()
