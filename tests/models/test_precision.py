"""A precision that changes mattes visibly says by how much when an engine of it opens."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from birefnet_batch.engines import open_engine, precision_check, selection
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.models.birefnet import NETWORKS
from birefnet_batch.models.precision import MEASURED, PrecisionError, precision_warning
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import locate_weights


def messages(
    caplog: pytest.LogCaptureFixture, chosen: str, store: Path, weights: Path | None = None, engine: str = "torch"
) -> list[str]:
    model = find_model("demo")
    with caplog.at_level(logging.WARNING, "birefnet_batch"):
        found = open_engine(
            engine,
            model=model,
            weights=locate_weights(model, None if weights is None else str(weights)),
            width=64,
            height=64,
            device="cpu",
            precision=chosen,
            threads=1,
            store=EngineStore(store),
        )
    # Whether the processor has bf16 is another warning.
    logged = [message for record in caplog.records if "no bf16" not in (message := record.getMessage())]
    assert list(found.notes) == logged
    return logged


@pytest.fixture
def steep(tmp_path: Path) -> Path:
    """A checkpoint of one's own whose mattes change with the last bits of where the demo model sees no subject."""
    shipped = load_file(str(locate_weights(find_model("demo")).path))
    state = {name: value.float() if value.is_floating_point() else value for name, value in shipped.items()}
    state["decoder.conv_out1.0.bias"] += 9
    state = {name: value * 20 if name.startswith("decoder.conv_out1.") else value for name, value in state.items()}
    save_file(state, tmp_path / "steep.safetensors")
    return tmp_path / "steep.safetensors"


def test_a_checkpoint_whose_mean_error_is_above_one_step_of_255_warns_with_its_figure(caplog, steep, tmp_path):
    (message,) = messages(caplog, "bf16", tmp_path / "store", steep)
    assert re.search(r"bf16 mattes of demo differ from fp32 by [1-9][\d.]*/255 on average and \d+/255", message)
    assert "give engine.precision=fp32" in message


def test_a_checkpoint_is_measured_once_and_by_its_digest(caplog, steep, tmp_path, monkeypatch):
    first = messages(caplog, "bf16", tmp_path / "store", steep)
    caplog.clear()
    monkeypatch.setattr(precision_check, "_measure", None)
    assert messages(caplog, "bf16", tmp_path / "store", steep) == first
    with pytest.raises(TypeError):
        messages(caplog, "bf16", tmp_path / "store")


@pytest.mark.parametrize(
    "damaged", ["[]", '{"mean": "x", "high": 1}', '{"mean": -1, "high": 1}', '{"mean": 2, "high": 1}', '{"mean": 0}']
)
def test_a_kept_error_that_is_none_is_measured_again(caplog, steep, tmp_path, monkeypatch, damaged):
    monkeypatch.setattr(precision_check, "_measure", lambda *_: PrecisionError(mean=2 / 255, high=math.nan))
    first = messages(caplog, "bf16", tmp_path / "store", steep)
    (kept,) = (tmp_path / "store" / "precision").glob("*.json")
    whole = kept.read_text()
    kept.write_text(damaged)
    caplog.clear()
    assert messages(caplog, "bf16", tmp_path / "store", steep) == first
    assert kept.read_text() == whole
    monkeypatch.setattr(precision_check, "_measure", None)
    caplog.clear()
    assert messages(caplog, "bf16", tmp_path / "store", steep) == first, "a percentile that is no number was measured"


def test_without_a_store_that_can_be_written_it_is_measured_and_not_kept(caplog, steep, tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert len(messages(caplog, "bf16", tmp_path / "file" / "store", steep)) == 1


def test_one_step_on_average_does_not_warn_yet():
    assert precision_warning("demo", "bf16", PrecisionError(mean=1 / 255, high=31 / 255)) is None


def test_half_precision_of_onnxruntime_on_a_cpu_is_judged_by_the_checkpoint(caplog, steep, tmp_path, monkeypatch):
    measured = PrecisionError(mean=2 / 255, high=31 / 255)
    monkeypatch.setattr(precision_check, "_measure", lambda *_: measured)
    (message,) = messages(caplog, "fp16", tmp_path / "store", steep, engine="onnxruntime")
    assert message.startswith("fp16 mattes of demo differ from fp32 by 2.0/255 on average and 31/255")


def test_a_precision_that_gives_no_number_says_so_and_names_another(caplog, tmp_path):
    shipped = load_file(str(locate_weights(find_model("demo")).path))
    state = {name: value.float() if value.is_floating_point() else value for name, value in shipped.items()}
    state["decoder.conv_out1.0.weight"] *= 1e7
    save_file(state, tmp_path / "large.safetensors")
    (message,) = messages(caplog, "fp16", tmp_path / "store", tmp_path / "large.safetensors")
    assert message == (
        "fp16 gives no finite matte of demo on pictures of the demo clips; give engine.precision=bf16 or fp32"
    )


def test_the_demo_models_own_weights_do_not_warn(caplog, tmp_path):
    assert messages(caplog, "bf16", tmp_path / "store") == []


def test_single_precision_does_not_warn(caplog, steep, tmp_path):
    assert messages(caplog, "fp32", tmp_path / "store", steep) == []


def test_every_network_was_measured_in_every_half_precision():
    assert set(MEASURED) == {(network, half) for network in NETWORKS for half in ("bf16", "fp16")}


@pytest.mark.parametrize(
    ("line", "has"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_tile", True),
        ("flags\t\t: fpu amx_bf16", True),
        ("Features\t: fp asimd bf16 i8mm", True),
        ("flags\t\t: fpu avx512f avx512_vnni", False),
    ],
)
def test_a_processor_says_whether_it_multiplies_bf16(line, has, tmp_path):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    assert selection._multiplies_bf16(tmp_path / "cpuinfo") is has
    assert selection._multiplies_bf16(tmp_path / "none")
