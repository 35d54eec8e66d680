"""Packets follow one another where the source's clock was set, and only there."""

from __future__ import annotations

from fractions import Fraction

import pytest

from birefnet_batch.video.packet_clock import PacketClock, SampleClock

LONG = 20  # milliseconds of a packet


def placed(times: list[int], origin: int = 0) -> list[int]:
    """Where packets with these decode times are put, in milliseconds."""
    clock = PacketClock(origin, Fraction(1, 1000))
    return [dts - clock.offset(dts, LONG) for dts in times]


@pytest.mark.parametrize("second", [0, 5_000_000], ids=["back", "forward"])
def test_what_follows_a_jump_has_no_gap(second: int) -> None:
    times = [*range(10_000, 12_000, LONG), *range(second, second + 2000, LONG)]
    assert placed(times, origin=10_000) == list(range(0, 4000, LONG))


def test_small_steps_back_and_gaps_stay() -> None:
    times = [0, 20, 40, 30, 60, 80, 1_000_000, 1_000_020]
    assert placed(times) == times


@pytest.mark.parametrize("wrong", [0, 8_000_000], ids=["back", "forward"])
def test_wrong_times_shift_nothing_after_them(wrong: int) -> None:
    times = list(range(10_000, 20_000, LONG))
    given = [*times[:100], wrong, wrong + LONG, wrong + 2 * LONG, *times[103:]]
    assert placed(given) == times


def test_samples_follow_one_another_unless_their_time_is_far_from_that() -> None:
    clock = SampleClock(Fraction(10), 1000)
    times = [Fraction(milliseconds, 1000) for milliseconds in (10_100, 10_120, 10_135, 10_300, 10_250)]
    assert [int(clock.place(time, Fraction(20))) for time in times] == [100, 120, 140, 300, 250]
    assert int(clock.place(None, Fraction(20))) == 270


@pytest.mark.parametrize("second", [10, 9000], ids=["back", "forward"])
def test_a_gap_in_sound_after_its_clock_was_set_stays_a_gap(second: int) -> None:
    clock = SampleClock(Fraction(0), 1000)
    times = [20 + Fraction(number, 50) for number in range(100)]
    times += [second + Fraction(number, 50) for number in (*range(100), *range(200, 300))]
    found = [int(clock.place(time, Fraction(20))) for time in times]
    assert found == [*range(20_000, 24_000, LONG), *range(26_000, 28_000, LONG)]
