"""The program: configuration, exit statuses, sweeps, help, and where it runs from."""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clips import make_clip
from omegaconf import DictConfig, OmegaConf
from trivial import TrivialEngine

from birefnet_batch import app
from birefnet_batch.errors import OutputError
from birefnet_batch.exit_status import FAILED, INTERRUPTED, OK, WRONG_USE, while_read
from birefnet_batch.named_requests import requests_of
from birefnet_batch.request import Request
from birefnet_batch.settings import Settings

ROOT = Path(__file__).parent.parent
DEMO = ("request.model=demo", "request.operating_resolution=256", "request.video_write_mode=fast")
Program = Callable[..., int]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Program:
    """Run the program in this process, in an empty folder, with these words; gives its exit status."""
    monkeypatch.chdir(tmp_path)
    stops = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    handlers = {number: signal.getsignal(number) for number in stops}

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["birefnet-batch", *words])
        try:
            return while_read(app.main)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    return run


def run_apart(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "birefnet_batch", *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_of_many_videos_that_failed_the_end_names_some_and_says_where_the_others_are(
    program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "videos.csv").write_text("video_url\n" + "".join(f"{number}.mp4\n" for number in range(23)))
    assert program(*DEMO, "manifest=videos.csv", "output=out") == FAILED
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert len(said) == 21
    assert "/0.mp4: " in said[0]
    assert said[-1] == f"failed: 3 more, each in {tmp_path}/out/manifest.jsonl"


def test_help_names_every_group_and_key_in_under_a_second(tmp_path: Path) -> None:
    best = 10.0
    for _ in range(3):
        started = time.perf_counter()
        done = run_apart("--help", folder=tmp_path)
        best = min(best, time.perf_counter() - started)
    assert done.returncode == 0
    for expected in ("experiment=", "demo | ", "media.background=auto", "request.model=", "weights.MODEL="):
        assert expected in done.stdout
    assert best < 1.0
    assert not list(tmp_path.iterdir())


def test_with_nothing_to_do_it_says_what_to_try(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    assert program() == WRONG_USE
    assert "Try one of" in capsys.readouterr().err
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("request.model=cat", "request.video_url=a.mp4", "output=o"), "'cat' is not allowed; give one of"),
        (("request.modell=light",), "request.modell is no setting; request has video_url, model, operating_resolution"),
        (("bogus=1",), "error: bogus is no setting; the top level has output, manifest"),
        (("models.x.network=demo",), "a new one takes a plus, +models.x.network"),
        (("engine=none",), "engine=none names no configuration; engine has auto, onnxruntime"),
        (("request.video_url=a${x}.mp4", "output=o"), "put a backslash before them"),
        (("engine.device=tpu",), "engine.device: auto | cpu | cuda"),
        (("+request.modle=light", "request.video_url=a.mp4", "output=o"), "request.modle is no setting; request has"),
        (("+foo=1", "request.video_url=a.mp4", "output=o"), "foo is no setting"),
        (
            ("request.output_mask=2", "request.model=cat", "request.video_url=a.mp4", "output=o"),
            "output_mask: 2 is not",
        ),
        (("request.output_mask=2", "request.model=cat", "request.video_url=a.mp4", "output=o"), "model: 'cat' is not"),
        (("request.output_mask=yes", "request.video_url=a.mp4", "output=o"), "output_mask: 'yes' is not allowed"),
        (("media.encoder_threads=0", "request.video_url=a.mp4", "output=o"), "at least 1"),
        (("request.video_url=a.mp4",), "output=FOLDER"),
        (("request.video_url=a.mp4", "manifest=b.yaml", "output=o"), "a run takes one of them"),
        (("manifest=none.yaml", "output=o"), "does not exist"),
        (("manifest=none.yaml", "request.model=cat", "output=o"), "has problems:\n  - request.model: 'cat' is not"),
        (
            ("request.video_url=s3://b/a.mp4", "output=o", "storage.options.s3.endpont_url=http://h"),
            "storage.options.s3.endpont_url is no option of s3fs; did you mean endpoint_url?",
        ),
        (("request.video_url=a.mp4", "output=o", "media.background=none"), "and X264 (.mp4) has none; give media."),
        (
            ("request.video_url=a.mp4", "output=o", "media.hardware=require", "request.video_output_type=vp9"),
            "no hardware encoder writes VP9 (.webm); libvpx-vp9 can be had. Give media.hardware auto or off, or",
        ),
        (("request_file=none.json", "output=o"), "does not exist"),
        (("request.video_url=a.mp4", "output=o", "hydra.mode=MULTIRUN"), "hydra.mode is not taken here; give -m for"),
        (("-m", "request.video_url=a.mp4,b.mp4", "output=o", "hydra.mode=MULTIRUN"), "hydra.mode is not taken here"),
        (("request.video_url=ftp://b/a.mp4", "output=o"), "scheme 'ftp'"),
        (("request.video_url=a.mp4", "output=/dev/null/x"), "output=/dev/null/x cannot be written"),
        (("request.video_url=a.mp4", "output=o", "storage.scratch=/dev/null/y"), "storage.scratch=/dev/null/y cannot"),
    ],
)
def test_a_wrong_configuration_is_status_2_with_one_clear_message_and_no_trace(
    program: Program, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert program(*words) == WRONG_USE
    shown = capsys.readouterr()
    assert message in shown.err + shown.out
    assert "Traceback" not in shown.err
    assert "HYDRA_FULL_ERROR" not in shown.err
    assert not list(Path().iterdir())


def test_some_failed_is_status_1_and_each_is_listed_with_its_reason(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip(Path("good.mp4"), frames=3)
    Path("videos.yaml").write_text("- good.mp4\n- missing.mp4\n")
    assert program("manifest=videos.yaml", "output=out", *DEMO) == FAILED
    shown = capsys.readouterr()
    assert "1 succeeded, 1 failed" in shown.out
    assert "missing.mp4 does not exist" in shown.err
    (run_folder,) = Path("out/runs").iterdir()
    assert {"run.json", "config.yaml", "overrides.yaml", "hydra.yaml", "manifest.jsonl"} == {
        path.name for path in run_folder.iterdir()
    }
    assert sorted(path.name for path in Path().iterdir()) == ["good.mp4", "out", "videos.yaml"]
    assert program("manifest=videos.yaml", "output=out", *DEMO) == FAILED
    assert "0 succeeded, 1 failed, 1 complete already" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("request.video_url=~nobody.mp4",), ("manifest=videos.yaml",)])
def test_a_path_with_the_tilde_of_no_user_costs_that_video_alone(
    program: Program, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    Path("videos.yaml").write_text("- ~nobody.mp4\n- none.mp4\n")
    assert program(*words, "output=out", *DEMO) == FAILED
    shown = capsys.readouterr()
    assert "/~nobody.mp4 does not exist; check the path" in shown.err
    assert "Traceback" not in shown.err
    assert ("none.mp4 does not exist" in shown.err.replace("nobody", "")) == (words[0] == "manifest=videos.yaml")


def test_bad_entries_stop_the_run_before_any_work_or_are_skipped(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip(Path("good.mp4"), frames=3)
    Path("videos.jsonl").write_text('"good.mp4"\n{"video_url": "a.mp4", "model": "cat"}\n{"video": 1}\n')
    assert program("manifest=videos.jsonl", "output=out", *DEMO) == WRONG_USE
    errors = capsys.readouterr().err
    assert "videos.jsonl, line 2: model: 'cat'" in errors
    assert "videos.jsonl, line 3: 'video' is no field" in errors
    assert not Path("out").exists()
    assert program("manifest=videos.jsonl", "output=out", "on_invalid=skip", *DEMO) == FAILED
    (run_folder,) = Path("out/runs").iterdir()
    assert json.loads((run_folder / "run.json").read_text())["counts"]["invalid_entries"] == 2
    assert [json.loads(line)["place"] for line in (run_folder / "invalid_entries.jsonl").read_text().splitlines()] == [
        "videos.jsonl, line 2",
        "videos.jsonl, line 3",
    ]
    assert "\n2 entries skipped: " in capsys.readouterr().out
    Path("videos.jsonl").write_text('"good.mp4"\n{"video": 1}\n')
    assert program("manifest=videos.jsonl", "output=out", "on_invalid=skip", *DEMO) == FAILED
    assert "\n1 entry skipped: " in capsys.readouterr().out


def test_the_arguments_of_an_api_call_run_unchanged(program: Program) -> None:
    Path("calls").mkdir()
    make_clip(Path("calls/clip.mp4"), frames=3)
    call = {
        "model": "Demo",
        "operating_resolution": "256x256",
        "output_mask": True,
        "refine_foreground": False,
        "sync_mode": False,
        "video_output_type": "X264 (.mp4)",
        "video_quality": "low",
        "video_url": "clip.mp4",
        "video_write_mode": "fast",
    }
    Path("calls/call.json").write_text(json.dumps(call))
    assert program("request_file=calls/call.json", "output=out") == OK
    (result,) = Path("out/jobs").glob("clip-*/result.json")
    assert set(json.loads(result.read_text())) == {"video", "mask_video"}


def test_the_spelling_of_the_api_works_on_the_command_line(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ('request.model="General Use (Light 2K)"', "request.operating_resolution=2560x1440", "output=out")
    assert program(*words, "request.video_url=none.mp4") == FAILED
    assert "none.mp4 does not exist" in capsys.readouterr().err


def test_in_a_sweep_every_job_runs_and_the_worst_status_counts(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip(Path("a.mp4"), frames=3)
    words = ("-m", "request.video_url=none.mp4,a.mp4", "output=out", *DEMO)
    assert program(*words) == FAILED
    assert "1 succeeded" in capsys.readouterr().out
    assert len(list(Path("out/jobs").glob("a-*/complete-*"))) == 1
    assert program("-m", "request.model=cat,demo", "request.video_url=a.mp4", "output=out2", *DEMO[1:]) == 2
    assert len(list(Path("out2/jobs").glob("a-*/complete-*"))) == 1
    assert sorted(path.name for path in Path().iterdir()) == ["a.mp4", "out", "out2"]


def test_in_a_sweep_a_job_that_hydra_refuses_costs_no_other(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip(Path("a.mp4"), frames=3)
    words = ("-m", "engine.device=tpu,cpu", "request.video_url=a.mp4", "output=out", *DEMO)
    assert program(*words) == WRONG_USE
    assert "1 succeeded" in capsys.readouterr().out
    assert len(list(Path("out/jobs").glob("a-*/complete-*"))) == 1


def test_a_sweep_writes_no_secret(
    program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "birefnet_batch.engines.open_engine", lambda name, **spec: TrivialEngine(spec["width"], spec["height"])
    )
    (tmp_path / "unread.pth").touch()
    url = "http://127.0.0.1:9/a.mp4?token=topsecret"
    words = ("-m", f"request.video_url={url}", "request.model=demo,light", "output=out", "storage.max_retries=1")
    assert program(*words, "weights.light=unread.pth") == FAILED
    shown = capsys.readouterr()
    texts = [shown.out, shown.err, *(path.read_text() for path in Path("out").rglob("*") if path.is_file())]
    assert not [text for text in texts if "topsecret" in text]


def test_the_command_line_wins_over_a_request_file(program: Program) -> None:
    make_clip(Path("clip.mp4"), frames=3)
    Path("call.json").write_text(json.dumps({"video_url": "clip.mp4", "model": "Portrait", "video_quality": "low"}))
    assert program("request_file=call.json", "output=out", *DEMO) == OK
    (record,) = Path("out/jobs").glob("clip-*/job.json")
    asked = json.loads(record.read_text())["request"]
    assert (asked["model"], asked["video_quality"]) == ("Demo", "low")


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (("request={model: demo, video_quality: high}",), "Demo"),
        (("request.model=demo",), "Demo"),
        (("request=portrait",), "Matting"),
    ],
)
def test_fields_win_over_a_request_file_however_the_command_line_names_them(
    program: Program, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], model: str
) -> None:
    found: list[str] = []

    def asked(config: DictConfig) -> int:
        (request,), _ = requests_of(Settings.from_config(config))
        found.append(str(request.model))
        return OK

    monkeypatch.setattr(app, "run_config", asked)
    Path("call.json").write_text(json.dumps({"video_url": "clip.mp4", "model": "Matting"}))
    assert program("request_file=call.json", "output=out", *words) == OK
    assert found == [model]


def test_how_many_entries_of_a_manifest_repeat_others_is_said_once(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="birefnet_batch")
    for name, rows in (("once.csv", "none.mp4"), ("often.csv", "none.mp4\n./none.mp4\nnone.mp4\nother.mp4")):
        Path(name).write_text(f"video_url\n{rows}\n")
        assert program(f"manifest={name}", "output=out", *DEMO) == FAILED
    said = [text for text in caplog.messages if "repetitions" in text]
    assert said == ["left out as repetitions of others: 2 of the manifest's 4 entries"]


def test_null_wins_over_a_request_file_too(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    Path("call.json").write_text(
        json.dumps({"video_url": "none.mp4", "model": "Demo", "operating_resolution": "512x512"})
    )
    words = ("request_file=call.json", "request.model=portrait", "output=out")
    assert program(*words) == WRONG_USE
    assert "'512x512' is not allowed with Portrait" in capsys.readouterr().err
    assert program(*words, "request.operating_resolution=null") == FAILED
    assert "none.mp4 does not exist" in capsys.readouterr().err
    # An experiment may have a URL, which is taken back beside a file.
    assert program("request_file=call.json", "output=out", "request.video_url=null") == FAILED
    assert "none.mp4 does not exist" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_of_the_help_gets_no_trace() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m birefnet_batch --help | head -1"], capture_output=True, text=True
    )
    assert done.stdout
    assert done.stderr == ""


def test_a_sweep_may_write_each_job_to_an_output_of_its_own(program: Program) -> None:
    make_clip(Path("a.mp4"), frames=3)
    words = ("-m", "request.video_quality=low,high", "request.video_url=a.mp4")
    assert program(*words, "output=out/${request.video_quality}", *DEMO) == OK
    assert all(len(list(Path("out", name, "jobs").glob("a-*/complete-*"))) == 1 for name in ("low", "high"))


@pytest.mark.parametrize(
    ("sweep", "own"),
    [
        (("media.background=white,black",), "${media.background}"),
        (("engine=torch,onnxruntime",), "${hydra:runtime.choices.engine}"),
        (("media=default,green",), "${hydra:runtime.choices.media}"),
        (("weights_folder=a,b",), "${weights_folder}"),
        (("request.video_quality=low,high", "engine.precision=fp32,bf16"), "${engine.precision}"),
    ],
)
def test_a_sweep_whose_jobs_would_write_over_each_other_is_refused_before_it_runs(
    program: Program, capsys: pytest.CaptureFixture[str], sweep: tuple[str, ...], own: str
) -> None:
    make_clip(Path("a.mp4"), frames=3)
    assert program("-m", *sweep, "request.video_url=a.mp4", "output=out", *DEMO) == WRONG_USE
    shown = capsys.readouterr()
    assert "of the sweep would write the same results" in shown.err
    assert f"output='results/x/{own}'" in shown.err
    assert not shown.out
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("sweep", "own", "names"),
    [
        ("media=default,green", "${hydra:runtime.choices.media}", ["default", "green"]),
        ("engine=torch,onnxruntime", "${hydra:runtime.choices.engine}", ["torch", "onnxruntime"]),
        ("engine.precision=fp32,bf16", "${engine.precision}", ["fp32", "bf16"]),
        ("engine.name=torch,onnxruntime", "${engine.name}", ["torch", "onnxruntime"]),
        ("on_invalid=fail,skip", "${on_invalid}", ["fail", "skip"]),
        ("engine.threads=1,2", "${hydra:job.num}", ["0", "1"]),
    ],
)
def test_the_outputs_of_a_sweep_have_the_names_of_what_was_chosen(
    program: Program, monkeypatch: pytest.MonkeyPatch, sweep: str, own: str, names: list[str]
) -> None:
    found: list[str | None] = []
    monkeypatch.setattr(app, "run_config", lambda config: found.append(Settings.from_config(config).output) or OK)
    assert program("-m", sweep, f"output=out/{own}", "request.video_url=a.mp4", *DEMO) == OK
    assert found == [f"out/{name}" for name in names]


def test_a_sweep_that_never_resumes_is_not_refused_for_its_own_results(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-m", "resume=never", "request.video_quality=low,high", "request.video_url=none.mp4", "output=out", *DEMO)
    assert program(*words) == FAILED
    assert len(list(Path("out/runs").iterdir())) == 2
    capsys.readouterr()
    assert program(*words) == WRONG_USE
    assert capsys.readouterr().err.count("has 2 jobs of earlier runs, and resume=never") == 2


def test_settings_are_swept_into_outputs_of_their_own(program: Program) -> None:
    make_clip(Path("a.mp4"), frames=3)
    words = ("-m", "media.background=white,black", "request.video_url=a.mp4")
    assert program(*words, "output=out/${media.background}", *DEMO) == OK
    assert all(len(list(Path("out", name, "jobs").glob("a-*/complete-*"))) == 1 for name in ("white", "black"))


def test_what_an_interpolation_makes_of_a_word_need_not_be_of_hydra_s_grammar(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    words = ("request.video_url=none.mp4", "media.background=#ff0000", "storage.options.az.account_key=a(b)==")
    assert program(*words, "output=out/${media.background}/${storage.options.az.account_key}", *DEMO) == FAILED
    assert "failed unexpectedly" not in caplog.text
    assert Path("out/#ff0000/a(b)==/manifest.jsonl").exists()


def test_null_is_the_default_of_every_field_of_a_request(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Request] = []
    monkeypatch.setattr(
        app, "run_config", lambda config: found.extend(requests_of(Settings.from_config(config))[0]) or OK
    )
    fields = ("model", "operating_resolution", "output_mask", "refine_foreground", "sync_mode")
    words = [f"request.{name}=null" for name in (*fields, "video_output_type", "video_quality", "video_write_mode")]
    assert program("request.video_url=a.mp4", "output=out", *words) == OK
    assert found == [Request.from_dict({"video_url": "a.mp4"})]


def test_results_in_a_folder_whose_name_is_not_utf8_are_reported(
    program: Program, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(os.fsdecode(b"\xff"))
    folder.mkdir()
    monkeypatch.chdir(folder)
    # As that of a process is, and pytest's is not.
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    assert program("request.video_url=none.mp4", "output=out", *DEMO) == FAILED
    assert "\\udcff/out/manifest.jsonl" in capsys.readouterr().out


def test_an_experiment_of_the_users_own_folder_is_found(program: Program) -> None:
    make_clip(Path("a.mp4"), frames=3)
    Path("mine/experiment").mkdir(parents=True)
    Path("mine/experiment/night.yaml").write_text(
        "# @package _global_\noutput: out\nrequest: {video_url: a.mp4, model: demo, operating_resolution: 256}\n"
    )
    assert program("--config-dir", "mine", "experiment=night") == OK
    assert Path("out/manifest.jsonl").exists()


def test_a_primary_configuration_of_the_users_own_that_is_not_made_of_ours_is_told_how_to_be(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine").mkdir()
    Path("mine/mine.yaml").write_text("output: out\n")
    assert program("--config-dir", "mine", "--config-name", "mine") == WRONG_USE
    assert "or begin it with `defaults: [config, _self_]`" in capsys.readouterr().err
    Path("mine/mine.yaml").write_text("defaults: [config, _self_]\noutput: out\n")
    assert program("--config-dir", "mine", "--config-name", "mine") == WRONG_USE
    assert "There is nothing to do. Try one of" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["mine"], "Hydra keeps no settings, which may be secret"


@pytest.mark.parametrize(
    "content", ["output: out\n", "", "- output: out\n", "\ufeff# @package _global_\noutput: out\n"]
)
def test_an_experiment_that_does_not_say_where_its_settings_go_is_told_to(
    program: Program, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    Path("mine/experiment").mkdir(parents=True)
    Path("mine/experiment/night.yaml").write_text(content)
    assert program("--config-dir", "mine", "experiment=night") == WRONG_USE
    assert "begins with the line `# @package _global_`, without a byte order mark" in capsys.readouterr().err


def test_the_clips_of_the_demo_are_found_in_a_folder_whose_name_is_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "a[1]*?" / "clip.mp4"
    clip.parent.mkdir()
    clip.touch()
    monkeypatch.setattr(app, "demo_clips", lambda: clip.parent)
    app.register()
    assert glob.glob(OmegaConf.create(["${birefnet_demo_clips:}/*.mp4"])[0]) == [str(clip)]  # noqa: PTH207


def test_every_shipped_experiment_and_group_composes() -> None:
    from hydra import compose, initialize_config_dir

    app.register()
    conf = ROOT / "conf"
    groups = sorted(path.relative_to(conf) for path in conf.rglob("*/*.yaml"))
    assert len(groups) > 8
    with initialize_config_dir(str(conf), version_base="1.3"):
        for path in groups:
            Settings.from_config(compose("config", [f"{path.parent}={path.stem}"]))


def test_options_that_an_interpolation_gives_are_hidden_as_a_whole() -> None:
    config = OmegaConf.create({"storage": {"options": "${oc.decode:'{s3: {secret: topsecret}}'}"}})
    document = app._documents(config)["config.yaml"]
    assert OmegaConf.create(document) == {"storage": {"options": "***"}}


def test_credentials_reach_no_file_and_no_stream(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    url = "http://me:hunter2@127.0.0.1:9/a.mp4?X-Amz-Signature=topsecret"
    words = (f'request.video_url="{url}"', "output=out", "storage.max_retries=1", *DEMO)
    assert program(*words, "weights.light=unread.pth") == FAILED
    shown = capsys.readouterr()
    texts = [shown.out, shown.err, *(path.read_text() for path in Path("out").rglob("*") if path.is_file())]
    assert len(texts) > 6
    for secret in ("hunter2", "topsecret"):
        assert not [text for text in texts if secret in text]


@pytest.mark.parametrize("body", [";base64,VERYSECRET==", ",%00VERYSECRET", ',it\'s VERYSECRET, in "VERYSECRET" words'])
def test_a_data_uri_reaches_no_file_and_no_stream(
    program: Program, capsys: pytest.CaptureFixture[str], body: str
) -> None:
    assert program(f"request.video_url=data:video/mp4{body}", "output=out", *DEMO) == FAILED
    shown = capsys.readouterr()
    texts = [shown.out, shown.err, *(path.read_text() for path in Path("out").rglob("*") if path.is_file())]
    assert len(texts) > 6
    assert not [text for text in texts if "VERYSECRET" in text]
    record = json.loads(next(Path("out").glob("runs/*/run.json")).read_text())
    digest = next(word for word in record["command"] if "video_url" in word).partition("=")[2].strip('"')
    assert digest == record["settings"]["request"]["video_url"]
    assert all(digest in text for text in texts[2:] if "request.video_url=" in text)


def test_an_output_that_is_lost_in_the_middle_of_a_run_is_no_wrong_configuration(
    program: Program, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise OutputError("s3://bucket/out cannot be written: the storage cannot be reached")

    monkeypatch.setattr("birefnet_batch.run_record.merge_manifest", lost)
    assert program("request.video_url=none.mp4", "output=out", *DEMO) == FAILED
    shown = capsys.readouterr().err
    assert "error: s3://bucket/out cannot be written: the storage cannot be reached; the run ended with that" in shown
    assert "the same command goes on with the rest" in shown


@pytest.mark.logs_errors
def test_a_defect_of_ours_is_status_1_with_its_trace_in_the_log(
    program: Program, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("birefnet_batch.batch.run", broken)
    assert program("request.video_url=a.mp4", "output=out") == FAILED
    assert "please report it" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_closed_terminal_and_a_batch_systems_notice_stop_it_unless_they_are_ignored(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def told(*_: object, **__: object) -> None:
        signal.raise_signal(number)
        raise OutputError("it went on")

    monkeypatch.setattr("birefnet_batch.batch.run", told)
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert program("request.video_url=a.mp4", "output=out", *DEMO) == WRONG_USE
    finally:
        signal.signal(number, before)
    assert program("request.video_url=a.mp4", "output=out", *DEMO) == INTERRUPTED


def test_hangups_of_one_closed_terminal_stop_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_interrupts", [])
    with pytest.raises(KeyboardInterrupt):
        app._interrupt(signal.SIGHUP, None)
    monkeypatch.setattr("os._exit", lambda status: pytest.fail("nobody insisted"))
    for _ in range(3):
        app._interrupt(signal.SIGHUP, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_stops_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    make_clip(tmp_path / "a.mp4", frames=3)
    make_clip(tmp_path / "b.mp4", frames=600)
    (tmp_path / "videos.yaml").write_text("- a.mp4\n- b.mp4\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "birefnet_batch", "manifest=videos.yaml", "output=out", *DEMO],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    live = tmp_path / "out" / "runs"
    deadline = time.monotonic() + 100
    while not [path for path in live.glob("*/manifest.jsonl") if path.stat().st_size]:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert "Traceback" not in errors
    assert "interrupted: finished videos are whole" in errors
    assert len(list(tmp_path.glob("out/jobs/a-*/complete-*"))) == 1
    assert not list(tmp_path.glob("out/jobs/b-*"))
    assert not (tmp_path / "out" / ".scratch").exists()
    assert len((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_an_installed_wheel_works_far_from_the_checkout(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path / "dist", checkout], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", wheel], check=True)
    make_clip(tmp_path / "a.mp4", frames=3)
    words = ("request.video_url=a.mp4", "output=out", *DEMO)
    done = run_apart(*words, folder=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    run_record = json.loads(next((tmp_path / "out" / "runs").glob("*/run.json")).read_text())
    assert run_record["git_revision"] is None, "the checkout was used, not the wheel"
    shown = run_apart("--cfg", "job", "experiment=demo", folder=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert "model: Demo" in shown.stdout
