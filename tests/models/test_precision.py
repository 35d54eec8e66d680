"""A precision that changes mattes visibly says by how much when an engine of it opens."""

from __future__ import annotations

import logging

import pytest

from birefnet_batch.engines import open_engine
from birefnet_batch.models import precision
from birefnet_batch.models.birefnet import NETWORKS
from birefnet_batch.models.precision import MEASURED, PrecisionError
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import locate_weights


def messages(caplog: pytest.LogCaptureFixture, chosen: str) -> list[str]:
    model = find_model("demo")
    with (
        caplog.at_level(logging.WARNING, "birefnet_batch"),
        open_engine(
            "torch",
            model=model,
            weights=locate_weights(model),
            width=64,
            height=64,
            device="cpu",
            precision=chosen,
            threads=1,
        ),
    ):
        return [record.getMessage() for record in caplog.records]


def test_a_mean_error_above_one_step_of_255_warns_with_the_figure(caplog, monkeypatch):
    monkeypatch.setitem(precision.MEASURED, ("demo", "bf16"), PrecisionError(mean=1.5 / 255, high=31 / 255))
    (message,) = messages(caplog, "bf16")
    assert "bf16 mattes of the network demo differ from fp32 by 1.5/255 on average and 31/255" in message
    assert "give engine.precision=fp32" in message


def test_one_step_on_average_does_not_warn_yet(caplog, monkeypatch):
    monkeypatch.setitem(precision.MEASURED, ("demo", "bf16"), PrecisionError(mean=1 / 255, high=31 / 255))
    assert messages(caplog, "bf16") == []


def test_single_precision_does_not_warn(caplog):
    assert messages(caplog, "fp32") == []


def test_every_network_was_measured_in_every_half_precision():
    assert set(MEASURED) == {(network, half) for network in NETWORKS for half in ("bf16", "fp16")}
