"""What crosses between a device's streams is waited for, and its memory is kept until then.

The streams here do their work as late as a device might: when somebody waits for it, and nothing more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from birefnet_batch.device_streams import DeviceStreams


class LazyStream:
    """Work that is done when it is waited for."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def wait_event(self, event: LazyEvent) -> None:
        self.work.append(event.synchronize)

    def run(self, until: int) -> None:
        for index in range(until):
            self.work[index]()
            self.work[index] = lambda: None


class LazyEvent:
    def __init__(self, *, enable_timing: bool = False, blocking: bool = False) -> None:
        self.stream, self.place = LazyStream(), 0

    def record(self, stream: LazyStream) -> None:
        self.stream, self.place = stream, len(stream.work)

    def synchronize(self) -> None:
        self.stream.run(self.place)


class LazyDevice:
    """What `torch.cuda` has of streams."""

    Stream, Event = LazyStream, LazyEvent

    def __init__(self) -> None:
        self._default = LazyStream()
        self._threads = threading.local()

    def current_stream(self) -> LazyStream:
        stream: LazyStream = getattr(self._threads, "stream", self._default)
        return stream

    @contextmanager
    def stream(self, stream: LazyStream) -> Iterator[None]:
        before, self._threads.stream = self.current_stream(), stream
        yield
        self._threads.stream = before


class LazyTensor:
    """A number that a stream computes, or copies, later."""

    shape, dtype = (), torch.float32

    def __init__(self, device: LazyDevice, value: float | None = None, *, of_host: bool = False) -> None:
        self.device, self.value, self.of_host = device, value, of_host
        self.streams = [device.current_stream()]

    def record_stream(self, stream: LazyStream) -> None:
        self.streams.append(stream)

    def copy_(self, source: LazyTensor, *, non_blocking: bool) -> LazyTensor:
        return source.computed(lambda value: value, self)

    def to(self, device: torch.device, *, non_blocking: bool) -> LazyTensor:
        return self.computed(lambda value: value)

    def computed(self, formula: Callable[[float], float], result: LazyTensor | None = None) -> LazyTensor:
        made, stream = result or LazyTensor(self.device), self.device.current_stream()
        assert self.of_host or stream in self.streams, "its memory could be another's meanwhile"

        def work() -> None:
            assert self.value is not None, "it was used before it was made"
            made.value = formula(self.value)

        stream.work.append(work)
        return made


class LazyStreams(DeviceStreams):
    def host_memory(self, shape: Sequence[int], dtype: torch.dtype) -> Any:
        return LazyTensor(self._module, of_host=True)


def test_each_stream_waits_for_what_it_uses_and_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    device = LazyDevice()
    monkeypatch.setattr(torch, "get_device_module", lambda _: device)
    streams: Any = LazyStreams(torch.device("cuda"))
    frame = streams.upload(LazyTensor(device, 3.0, of_host=True))
    streams.take(streams.uploaded(), [frame])
    matte = frame.computed(lambda value: value + 1)
    ready = streams.moment()
    following = frame.computed(lambda value: pytest.fail("the following batch was waited for"))
    with streams.finishing():
        streams.take(ready, [frame, matte])
        made = [tensor.computed(lambda value: 2 * value) for tensor in (frame, matte)]
        ready = streams.moment()
        frame.computed(lambda value: pytest.fail("the following batch was waited for"))
    there = streams.download(ready, made)
    assert [tensor.value for tensor in there] == [6, 8]
    assert following.value is None


def test_on_a_processor_nothing_is_copied_and_the_clock_is_the_host_s() -> None:
    streams = DeviceStreams(torch.device("cpu"))
    held = streams.host_memory((2, 3), torch.uint8)
    assert streams.upload(held) is held
    begin = streams.moment()
    streams.take(streams.uploaded(), [held])
    with streams.finishing():
        (there,) = streams.download(streams.moment(), [held])
    time.sleep(0.02)
    assert there is held
    assert 0.02 <= streams.seconds(begin, streams.moment()) < 10
