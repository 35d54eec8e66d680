"""Groups of a command line beside an experiment: had, or refused."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from birefnet_batch import app
from birefnet_batch.exit_status import INTERRUPTED, WRONG_USE
from birefnet_batch.settings import Settings

NIGHT = """# @package _global_
output: out
engine: {name: torch, threads: 4}
executor: {name: local}
storage: {options: {s3: {secret: topsecret}}}
"""
FILES = {
    "experiment/night": NIGHT,
    "experiment/later_night": "# @package _global_\ndefaults: [night, _self_]\noutput: later\n",
    "experiment/pick": "# @package _global_\nstorage: {timeout_s: 30}\n",
    "experiment/fast_disk": "# @package _global_\nstorage: {scratch: /fast}\n",
    "engine/to_fill": "name: torch\nthreads: ???\n",
    "storage/lab": "options: {s3: {secret: VERYSECRET}}",
    "mine": "defaults: [config, _self_]\nengine: {name: torch}\n",
}


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for name, text in FILES.items():
        path = Path("mine", f"{name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def status(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """What the program ends with, with the experiments and groups of the folder `mine`."""
    monkeypatch.setattr(sys, "argv", ["birefnet-batch", "--config-dir", "mine", *words])
    return app.main()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("experiment=night", "engine=onnxruntime"),
            "engine=onnxruntime gives engine.name=onnxruntime, and experiment=night, which comes later, gives "
            "engine.name=torch; give engine.name=onnxruntime, or leave engine=onnxruntime out",
        ),
        (
            ("experiment=night", "engine=auto", "executor=ray"),
            "experiment=night, which comes later, gives executor.name=local",
        ),
        (("experiment=demo", "request=portrait"), "request=portrait gives request.model=Portrait, and experiment=demo"),
        (("experiment=folder_of_portraits", "media=green"), "give media.background=0,177,64"),
        (("experiment=night", "storage=lab"), "storage=lab gives storage.options.s3.secret=***"),
        (
            ("experiment=[night]", "engine=onnxruntime"),
            "and experiment=night, which comes later, gives engine.name=torch",
        ),
        (("experiment=[pick,night]", "engine=onnxruntime"), "and experiment=night, which comes later"),
        (
            ("experiment=later_night", "engine=onnxruntime"),
            "experiment=later_night, which comes later, gives engine.name",
        ),
        (("experiment=fast_disk", "storage=default"), "give storage.scratch=null, or leave storage=default out"),
    ],
)
def test_a_group_whose_values_an_experiment_overrules_is_refused(
    words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(monkeypatch, *words) == WRONG_USE
    shown = capsys.readouterr().err
    assert message in shown
    assert not [secret for secret in ("topsecret", "VERYSECRET") if secret in shown]


@pytest.mark.parametrize(
    ("words", "engine"),
    [
        (("experiment=night",), "torch"),
        (("experiment=night", "engine=torch", "executor=local"), "torch"),
        (("experiment=night", "engine=onnxruntime", "engine.name=onnxruntime"), "onnxruntime"),
        (("experiment=night", "engine=onnxruntime", "engine={name: onnxruntime}"), "onnxruntime"),
        (("experiment=night", "engine=onnxruntime", "engine.name=torch"), "torch"),
        (("experiment=demo", "engine=onnxruntime"), "onnxruntime"),
        (("experiment=cluster", "executor=ray"), "auto"),
        (("experiment=night", "engine=to_fill"), "torch"),
        # A primary configuration of the user's own has its own way, like the values of ours.
        (("--config-name", "mine", "experiment=pick", "engine=onnxruntime"), "torch"),
        (("engine=onnxruntime", "request=portrait"), "onnxruntime"),
    ],
)
def test_a_group_that_is_had_or_that_the_command_line_itself_overrules_is_taken(
    words: tuple[str, ...], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def requests_of(settings: Settings) -> None:
        found.append(settings.engine.name.value)
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "requests_of", requests_of)
    assert status(monkeypatch, *words) == INTERRUPTED
    assert found == [engine]
