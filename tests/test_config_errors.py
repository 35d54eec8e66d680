"""What cannot be composed is told in one line, with the setting and without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from birefnet_batch.app import main
from birefnet_batch.command_line import sweep_jobs
from birefnet_batch.config_errors import unreadable
from birefnet_batch.errors import ConfigError

SECRET = "abSECRET"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (f"storage.options.s3={SECRET}", "storage.options.SCHEME.NAME=VALUE"),
        (f"storage.options.s3=[{SECRET}]", "storage.options.SCHEME.NAME=VALUE"),
        (f"storage.options.s3.sas={SECRET}(de", "the value of storage.options.s3.sas cannot be read; one with"),
        (f"storage.options.s3={{secret: {SECRET}", "the value of storage.options.s3 cannot be read; one with"),
    ],
)
def test_a_secret_that_cannot_be_read_is_not_repeated(
    word: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["birefnet-batch", "request.video_url=a.mp4", "output=out", word])
    assert main() == 2
    told = capsys.readouterr().err
    assert said in told
    assert SECRET not in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        (f"https://user:{SECRET}@host/clip.mp4", "https://host/clip.mp4"),
        (f"https://user:{SECRET}@host/clip.mp4?a=b", "https://host/clip.mp4?a="),
        (f"https://h/a?e=1&token={SECRET}", "https://h/a?e="),
        (f"storage.options.s3.secret:{SECRET}", "storage.options..."),
        ("clip.mp4", "clip.mp4"),
        ("request.video_url", "request.video_url"),
    ],
)
def test_a_word_that_gives_no_setting_is_shown_without_its_secrets(
    word: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["birefnet-batch", word, "output=out"])
    assert main() == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"error: {shown}")
    assert "is no KEY=VALUE; " in told
    assert "brackets" not in told
    assert SECRET not in told


def test_a_secret_of_a_sweep_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match=r"the value of storage.options.s3.secret cannot be read; one with") as caught:
        sweep_jobs(["request.model=a,b", f"storage.options.s3.secret={SECRET}(de"])
    assert SECRET not in str(caught.value)


def test_of_several_values_that_cannot_be_read_each_is_told_to_have_its_quotes() -> None:
    with pytest.raises(ConfigError, match=r"of several values each: 'request.model=\"VALUE\",\"VALUE\"'$"):
        sweep_jobs(["request.model=General Use (Light),demo"])
    assert sweep_jobs(['request.model="General Use (Light)",demo']) == [
        ['request.model="General Use (Light)"'],
        ["request.model=demo"],
    ], "as the message says"
    with pytest.raises(ConfigError, match=r"'engine.threads=\"VALUE\"'$"):
        sweep_jobs(["engine.threads=[1"])


def test_of_what_is_no_secret_the_reason_is_told() -> None:
    told = unreadable("engine.threads=[1", "no viable alternative at input '[1'\nSee https://hydra.cc/docs for details")
    assert told.startswith("the value of engine.threads cannot be read (no viable alternative at input '[1'); one with")
    assert OmegaConf.from_dotlist(['a="[1"']).a == "[1", "as the message says"


@pytest.mark.parametrize("defaults", ["override executor: ray", "/executor: ray", "executor: ray"])
def test_an_experiment_that_chooses_from_a_group_in_another_way_is_told_how(
    defaults: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\ndefaults:\n  - {defaults}\noutput: out\n")
    monkeypatch.setattr("sys.argv", ["birefnet-batch", "--config-dir", str(tmp_path), "experiment=mine"])
    assert main() == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert "executor" in told.partition(";")[0]
    assert "by `- override /executor: " in told
    assert "Config search path" not in told


def test_a_group_with_a_plus_is_told_to_come_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["birefnet-batch", "+experiment=demo", "output=out"])
    assert main() == 2
    assert "chosen by experiment=demo on a command line, without a plus" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("experiment=", "experiment= names no configuration; experiment has bucket_to_webm, cluster"),
        ("experiment=2026_11_29", "experiment=2026_11_29 names no configuration; experiment has"),
        ("experiment=1.10", "experiment=1.10 names no configuration; experiment has"),
        ("experiment=null", "to have none, leave it out"),
    ],
)
def test_a_group_is_chosen_by_a_name_whatever_it_looks_like(
    word: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["birefnet-batch", word, "output=out"])
    assert main() == 2
    shown = capsys.readouterr().err
    assert told in shown
    assert "search path" not in shown
