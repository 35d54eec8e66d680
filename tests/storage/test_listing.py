"""Which objects of a bucket a folder's name or a pattern means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from birefnet_batch.errors import ManifestError
from birefnet_batch.manifest import load_manifest
from birefnet_batch.storage import listing

NAMES = [
    "raw/a.mp4",
    "raw/done/jobs/x/e.mp4",
    "raw/shoot [1]/d.mp4",
    "raw/x/.trash/f.mp4",
    "raw/x/b.mp4",
    "raw/x/y/c.mp4",
]


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that has these objects and nothing else."""

    def find(folder: str) -> list[str]:
        return [f"b/{name}" for name in NAMES if f"b/{name}/".startswith(f"{folder}/")]

    monkeypatch.setattr(listing, "bucket_filesystem", lambda *_: SimpleNamespace(find=find, info=lambda path: {}))


def found(location: str, **more: Any) -> list[str]:
    """What a manifest of that location names, without the folder that all are in."""
    requests = load_manifest(location, {}, **more).requests
    return [request.video_url.removeprefix("s3://b/raw/") for request in requests]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("**/*.mp4", ["a.mp4", "done/jobs/x/e.mp4", "shoot [1]/d.mp4", "x/b.mp4", "x/y/c.mp4"]),
        ("*.mp4", ["a.mp4", "done/jobs/x/e.mp4", "shoot [1]/d.mp4", "x/b.mp4", "x/y/c.mp4"]),
        ("**/a.mp4", ["a.mp4"]),
        ("x/**/**/?.mp4", ["x/b.mp4", "x/y/c.mp4"]),
        ("**/x/**/b.mp4", ["x/b.mp4"]),
        ("x**/b.mp4", ["x/b.mp4"]),
        ("x/**", ["x/b.mp4", "x/y/c.mp4"]),
        ("[ax]*", ["a.mp4", "x/b.mp4", "x/y/c.mp4"]),
    ],
)
def test_two_stars_are_any_folders_or_none_as_in_a_shell(pattern: str, names: list[str]) -> None:
    assert found(f"s3://b/raw/{pattern}") == names


def test_a_folder_with_brackets_in_its_name_is_no_pattern() -> None:
    assert found("s3://b/raw/shoot [1]") == ["shoot [1]/d.mp4"]
    assert found("s3://b/raw/shoot [1]/") == ["shoot [1]/d.mp4"]


def test_a_runs_own_results_are_no_inputs_whatever_the_letters_of_the_scheme() -> None:
    assert found("S3://b/raw", exclude="S3://b/raw/done") == found("s3://b/raw", exclude="s3://b/raw/done")
    assert "done/jobs/x/e.mp4" not in found("S3://b/raw", exclude="S3://b/raw/done")


def test_a_runs_own_output_is_not_called_that_of_another_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(globals(), "NAMES", [*NAMES, "raw/done/runs/1/run.json"])
    with caplog.at_level("INFO"):
        assert "done/jobs/x/e.mp4" not in found("s3://b/raw", exclude="s3://b/raw/done")
        assert found("s3://b/raw/x/*.mp4") == ["x/b.mp4", "x/y/c.mp4"]
    assert "results of other runs" not in caplog.text
    with caplog.at_level("INFO"):
        found("s3://b/raw")
    assert "results of other runs are no inputs: those of s3://b/raw/done" in caplog.text


def test_a_single_video_says_what_to_give_instead() -> None:
    with pytest.raises(ManifestError, match="for one video give request.video_url=s3://b/raw/a.mp4"):
        found("s3://b/raw/a.mp4")
    with pytest.raises(ManifestError, match="no object there has a name that ends in"):
        found("s3://b/raw/*z.mp4")


@pytest.mark.parametrize(
    ("location", "names"),
    [
        ("s3://b/raw", ["a.mp4", "shoot [1]/d.mp4", "x/b.mp4", "x/y/c.mp4"]),
        ("s3://b/raw/**/*.mp4", ["a.mp4", "shoot [1]/d.mp4", "x/b.mp4", "x/y/c.mp4"]),
        ("s3://b/raw/*/jobs/*.mp4", ["done/jobs/x/e.mp4"]),
        ("s3://b/raw/done", ["done/jobs/x/e.mp4"]),
        ("s3://b/raw/done/jobs/x/", ["done/jobs/x/e.mp4"]),
    ],
)
def test_results_of_other_runs_are_inputs_only_where_they_are_named(
    location: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "NAMES", [*NAMES, "raw/done/runs/1/run.json"])
    assert found(location) == names
