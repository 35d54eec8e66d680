"""Stages stand or fall together and never block each other for good."""

from __future__ import annotations

import threading
import time

import pytest

from birefnet_batch.overlap import Cancelled, Stages


def test_items_arrive_in_order_through_a_full_channel() -> None:
    seen: list[int] = []
    with Stages() as stages:
        channel = stages.channel(2)

        def produce() -> None:
            for number in range(100):
                channel.put(number)
            channel.close()

        stages.start("produce", produce)
        seen.extend(channel)
    assert seen == list(range(100))


def test_a_channel_holds_no_more_than_its_size() -> None:
    most = 0
    made = taken = 0
    with Stages() as stages:
        channel = stages.channel(3)

        def produce() -> None:
            nonlocal made
            for number in range(50):
                channel.put(number)
                made += 1
            channel.close()

        stages.start("produce", produce)
        for _ in channel:
            time.sleep(0.001)
            most = max(most, made - taken)
            taken += 1
    assert most <= 3 + 1


def test_an_error_in_one_stage_ends_the_others_and_is_raised() -> None:
    cancelled = threading.Event()
    with pytest.raises(ValueError, match="broken"), Stages(on_cancel=cancelled.set) as stages:
        first, second = stages.channel(1), stages.channel(1)

        def endless() -> None:
            while True:
                first.put(0)

        def failing() -> None:
            next(iter(first))
            raise ValueError("broken")

        stages.start("endless", endless)
        stages.start("failing", failing)
        with pytest.raises(Cancelled):
            next(iter(second))
    assert cancelled.is_set()


def test_an_interrupt_in_the_main_thread_ends_the_stages() -> None:
    finished = threading.Event()
    with pytest.raises(KeyboardInterrupt), Stages() as stages:
        channel = stages.channel(1)

        def endless() -> None:
            try:
                while True:
                    channel.put(0)
            finally:
                finished.set()

        stages.start("endless", endless)
        raise KeyboardInterrupt
    assert finished.is_set()


def test_an_interrupt_is_not_hidden_by_a_stage_that_it_ended_first() -> None:
    died = threading.Event()
    with pytest.raises(KeyboardInterrupt), Stages(on_cancel=died.set) as stages:

        def dying() -> None:
            raise ValueError("its process was killed by signal SIGTERM")

        stages.start("dying", dying)
        assert died.wait(10)
        raise KeyboardInterrupt
