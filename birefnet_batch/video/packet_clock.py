"""Times of packets and of samples that are carried over, where the source's clock was set on the way."""

from __future__ import annotations

from fractions import Fraction

from birefnet_batch.video.timestamps import JITTER_S, LONGEST_S

# Clocks of containers are coarse (a millisecond in Matroska); what is farther off is no rounding.
_NEAR_S = Fraction(1, 20)


class PacketClock:
    """Finds where a track goes on after its clock was set, as `Timeline` does it for pictures.

    Where the clock jumps back by more than a second or forward by more than an hour, the packet follows the one before
    it without a gap. A clock that comes back from such a jump is the old one again, so that single times that were
    written wrong shift nothing after them.

    Args:
        origin: the track's time that becomes 0, in ticks of `time_base`.
        time_base: seconds a tick.
    """

    def __init__(self, origin: int, time_base: Fraction) -> None:
        self._offset = self._before = origin
        self._back = JITTER_S / time_base
        self._forward = LONGEST_S / time_base
        self._following: int | None = None

    def offset(self, dts: int, duration: int) -> int:
        """What is to be taken off the times of the next packet, in ticks.

        Args:
            dts: its decode time, in ticks of the source's clock.
            duration: how long it lasts, in ticks; 0 where that is not known.
        """
        if self._following is not None:
            step = dts - self._offset - self._following
            if abs(dts - self._before - self._following) <= self._back < abs(step):
                self._before, self._offset = self._offset, self._before
            elif not -self._back <= step <= self._forward:
                self._before, self._offset = self._offset, dts - self._following
        end = dts - self._offset + max(1, duration)
        self._following = end if self._following is None else max(self._following, end)
        return self._offset


class SampleClock:
    """Finds where sound that is counted in samples belongs: after what came before it, if its time is near that.

    Args:
        origin: the source's time that becomes 0, in seconds.
        rate: samples a second.
    """

    def __init__(self, origin: Fraction, rate: int) -> None:
        self._origin = origin
        self._rate = rate
        self._clock = PacketClock(0, Fraction(1, rate))
        self.following: Fraction | None = None
        """Where what was placed last ends, in samples."""

    def place(self, time: Fraction | None, length: Fraction) -> Fraction:
        """Where what comes next begins, in samples.

        Args:
            time: its time in the source, in seconds, where it has one.
            length: how long it is, in samples.
        """
        at = self.following or Fraction(0)
        if time is not None:
            given = round((time - self._origin) * self._rate)
            given -= self._clock.offset(given, round(length))
            if self.following is None or abs(given - at) > _NEAR_S * self._rate:
                at = Fraction(given)
        self.following = at + length
        return at
