"""`run` as a program calls it: what it takes, what it says, and what it keeps of the program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batch_runs import Quiet, request, settings

import birefnet_batch
from birefnet_batch import ConfigError, Request, RequestError, Settings, process_video, run
from birefnet_batch.run_ids import new_run_id
from birefnet_batch.settings import ExecutorName, ExecutorSettings
from birefnet_batch.settings.checks import unused_settings


def test_many_videos_may_be_the_arguments_of_calls(tmp_path: Path) -> None:
    call = {"video_url": str(tmp_path / "none.mp4"), "model": "demo"}
    assert run(settings(tmp_path / "out"), [call], progress=Quiet()).failed == 1
    with pytest.raises(RequestError, match="'cat' is not allowed"):
        run(settings(tmp_path / "out"), [call, {**call, "model": "cat"}], progress=Quiet())
    with pytest.raises(ConfigError, match="`requests` is empty; give Requests: the manifest"):
        run(settings(tmp_path / "out", manifest="videos.yaml"), [], progress=Quiet())


@pytest.mark.parametrize("given", ["clips/a.mp4", Path("clips"), None, 5, {"video_url": "a.mp4"}, Request("a.mp4")])
def test_what_is_no_list_of_requests_is_refused_with_what_to_give(tmp_path: Path, given: Any) -> None:
    message = (
        rf"requests is of the type {type(given).__name__}; give a list of Requests .* \[Request\(video_url=...\)\]"
    )
    with pytest.raises(ConfigError, match=message):
        run(settings(tmp_path / "out"), given, progress=Quiet())
    assert not (tmp_path / "out").exists()


def test_what_is_no_settings_is_refused_with_how_they_are_given(tmp_path: Path) -> None:
    given: Any = [request(tmp_path / "none.mp4")]
    with pytest.raises(
        ConfigError, match=r"settings is of the type list; give Settings\(...\): run\(settings, requests"
    ):
        run(given, settings(tmp_path / "out"))  # type: ignore[arg-type]
    options: Any = {"resume": "force"}
    with pytest.raises(
        ConfigError, match=r"settings is of the type dict; give Settings\(...\): .* settings=settings\)"
    ):
        process_video(given[0], output=tmp_path / "out", settings=options)
    assert not (tmp_path / "out").exists()


def test_all_that_is_public_can_be_had() -> None:
    assert {getattr(birefnet_batch, name).__name__ for name in birefnet_batch.__all__} == set(birefnet_batch.__all__)
    assert {"EngineSettings", "Resume", "NoWorkerError", "OutputLostError"} <= set(birefnet_batch.__all__)


def test_a_type_checker_knows_all_that_is_public_and_no_other_name(tmp_path: Path) -> None:
    package = Path(birefnet_batch.__file__)
    program = tmp_path / "program.py"
    program.write_text(f"from birefnet_batch import {', '.join(birefnet_batch.__all__)}, Reqest\n")
    words = ["--config-file=", f"--cache-dir={os.devnull}", "--follow-imports=skip", str(program), str(package)]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *words], cwd=package.parents[1], capture_output=True, text=True
    )
    (error, summary) = checked.stdout.splitlines()
    assert 'Module "birefnet_batch" has no attribute "Reqest"' in error
    assert summary.startswith("Found 1 error")


def test_the_types_of_what_run_takes_and_returns_are_public() -> None:
    named = set(re.findall(r"\b[A-Z]\w+", " ".join(run.__annotations__.values()))) - {"None"}
    assert named - {"Any", "Callable", "Iterable", "Mapping"} <= set(birefnet_batch.__all__)
    assert {"JobOutcome", "Progress", "RunSummary"} <= named


def test_runs_that_begin_in_one_second_sort_by_their_time() -> None:
    ids = []
    for _ in range(50):
        ids.append(new_run_id())
        time.sleep(0.0001)
    assert sorted(set(ids)) == ids
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", run_id) for run_id in ids)


def test_what_is_of_rays_workers_alone_is_said_to_be_left_out_without_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    executor = ExecutorSettings(workers=4, resources={"license": 1.0}, scratch="s3://bucket/parts", grace_s=5.0)
    run(settings(tmp_path / "out", executor=executor), [request(tmp_path / "none.mp4")], progress=Quiet())
    names = "executor.workers, executor.resources, executor.scratch, executor.grace_s"
    assert f"left out here: {names}; give executor=ray" in caplog.text
    assert unused_settings(Settings(executor=replace(executor, name=ExecutorName.ray))) == []


def test_of_a_program_that_calls_run_the_arguments_are_in_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["service.py", "--api-key", "topsecret"])
    run(settings(tmp_path / "out"), [request(tmp_path / "none.mp4")], progress=Quiet())
    (record,) = (tmp_path / "out" / "runs").glob("*/run.json")
    assert json.loads(record.read_text())["command"] == ["service.py"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (None, "output is missing; give output=FOLDER for the results"),
        (5, "Settings.output is of the type int; give str, None"),
        (b"out", "Settings.output is of the type bytes; give str, None"),
    ],
)
def test_what_is_no_folder_is_no_output_of_one_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        process_video(request(tmp_path / "none.mp4"), output=output)
    assert not list(tmp_path.iterdir())


def test_documents_are_files_in_the_folder_of_the_run_and_none_of_its_own(tmp_path: Path) -> None:
    wrong = [
        "../../evil.txt",
        str(tmp_path / "evil.txt"),
        "a/b.txt",
        "a\\b.txt",
        "..",
        "",
        " ",
        "a\0",
        "a\nb",
        "a" * 201,
    ]
    own = ["run.json", "RUN.JSON", "manifest.jsonl", "running"]
    with pytest.raises(ConfigError) as caught:
        run(
            settings(tmp_path / "out"),
            [request(tmp_path / "none.mp4")],
            progress=Quiet(),
            documents=dict.fromkeys(["fine.txt", *wrong, *own], "x"),
        )
    assert str(caught.value).splitlines()[1:] == [
        *(f"  - {name!r} is no plain file name; give one without a folder, such as config.yaml" for name in wrong),
        *(f"  - {name!r} is a file of the run's own; give another name" for name in own),
    ]
    assert not list(tmp_path.iterdir())
    run(settings(tmp_path / "out"), [request(tmp_path / "none.mp4")], progress=Quiet(), documents={"..fine .txt": "x"})
    (kept,) = (tmp_path / "out" / "runs").glob("*/*.txt")
    assert (kept.name, kept.read_text()) == ("..fine .txt", "x")


@pytest.mark.parametrize("documents", [{5: "x"}, {"ok": 5}, {"ok": b"x"}, [("a", "b")], "abc", 5])
def test_documents_of_other_types_are_refused_with_what_to_give(tmp_path: Path, documents: Any) -> None:
    with pytest.raises(ConfigError, match="documents is no mapping of texts to texts; give"):
        run(settings(tmp_path / "out"), [request(tmp_path / "none.mp4")], documents=documents)
    assert not list(tmp_path.iterdir())
