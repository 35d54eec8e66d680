"""A job's record says what made all of its segments."""

from __future__ import annotations

from typing import Any

from birefnet_batch.executors.finish import _other_engines
from birefnet_batch.executors.segment_step import SegmentDone
from birefnet_batch.pipeline import SegmentRecord


def done(index: int, **engine: Any) -> SegmentDone:
    return SegmentDone(SegmentRecord(index, 1, 1, {}, {}), {"precision": "fp16", "batch_size": index, **engine}, None)


def test_segments_of_another_engine_than_the_record_s_are_named() -> None:
    card = {"family": "tensorrt", "device_name": "NVIDIA H100"}
    other = {"family": "torch", "device_name": "NVIDIA L4"}
    assert _other_engines([done(0, **card), done(1, **card)]) == [], "a halved batch is told elsewhere"
    assert _other_engines([done(0, **other), done(1, **card), done(2, **other), done(3, **card)]) == [
        "made by another engine, torch NVIDIA L4 fp16: segment 0, 2"
    ]
