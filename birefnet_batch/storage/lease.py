"""One run at a time on one output: a lease that ends with its holder, on disks and in buckets alike.

A lease is a small file `.lease/<number>.json` that is created only where there is none of that name. Its holder
writes it anew every `RENEW_S` seconds. Who finds a dead holder's creates the next number, which one of several can,
and removes the old one; who finds a living holder's is told whose it is.

A holder is dead when its lease was not renewed for `EXPIRE_S` seconds, by the clocks of both machines, which must
agree within that; in the same container as soon as its process is gone, and in another one of the same machine too
where the output is on a disk of that machine.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Container
from dataclasses import asdict, replace
from datetime import datetime

from birefnet_batch.errors import BirefnetBatchError, ConfigError, OutputError
from birefnet_batch.storage.lease_holder import EXPIRE_S, Holder, this_moment, this_process
from birefnet_batch.storage.local_store import LocalStore
from birefnet_batch.storage.scratch import SCRATCH, is_abandoned
from birefnet_batch.storage.stores import Store

FOLDER = ".lease"
_NAME = re.compile(r"\d+\.json", re.ASCII)
RENEW_S = 20.0
_log = logging.getLogger(__name__)
_TAKEN_OVER = (
    f"was taken over by another run, because this one did not renew its lease for {EXPIRE_S:g} s (was the machine "
    "asleep?); run it again when the other one has ended"
)
_GONE = (
    f"is gone, or its {FOLDER} with this run's lease: something removed it, or took its disk away, while the run used "
    "it; leave both alone until a run has ended, and mount the disk again if it was that"
)


class Lease:
    """This process's lease of an output.

    Args:
        store: the output.
        run_id: names this run.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._holder = this_process(run_id)
        self._name: str | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost: str | None = None
        """What has become of the output, where this run holds it no more."""
        self.dead: tuple[Holder, ...] = ()
        """Holders that did not give the output back, found when it was taken."""

    def acquire(self) -> None:
        """Take the lease and keep it.

        Raises:
            ConfigError: another run holds it.
            OutputError: the output cannot be read or written.
        """
        names = _leases(self._store)
        self._refuse_the_living(names)
        number = max(map(_number, names), default=0) + 1
        while not self._store.create(name := f"{FOLDER}/{number:08d}.json", _content(self._holder)):
            now, taken = _leases(self._store), name.removeprefix(f"{FOLDER}/")
            if taken in now and _read(self._store, taken) == self._holder:
                # A bucket's library repeats a write whose answer was lost, and finds what the first one wrote.
                break
            self._refuse_the_living(now)
            if taken in now:
                raise ConfigError(f"output={self._store.shown} was taken by another run this moment; try again")
            # A folder has that name, or the other run has gone already.
            number += 1
        self._name = name
        try:
            # Whoever saw an older state than we did may have taken a number as well.
            self._refuse_the_living([other for other in _leases(self._store) if f"{FOLDER}/{other}" != name])
        except BirefnetBatchError:
            self.release()
            raise
        self.dead = tuple(holder for old in names if (holder := _read(self._store, old)) is not None)
        for old in names:
            self._store.remove(f"{FOLDER}/{old}")
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that the lease is still ours.

        Raises:
            OutputError: another run has taken it over, because this one was silent for too long; or that may be so, and
                the store does not say; or it was removed.
        """
        if not self._lost and self._holder.is_expired:
            # The thread that renews it slept with the machine, or waits for the store.
            self._renew()
        if self._lost:
            raise OutputError(f"output={self._store.shown} {self._lost}")

    def release(self) -> None:
        """Give the lease back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._name is not None and not self._lost:
            try:
                self._store.remove(self._name)
            except (BirefnetBatchError, OSError) as error:
                _log.warning("the lease of %s stays until it expires: %s", self._store.shown, error)
        self._name = None

    def _refuse_the_living(self, names: list[str]) -> None:
        for name in names:
            holder = _read(self._store, name)
            if holder is not None and may_live(self._store, holder):
                raise ConfigError(
                    f"output={self._store.shown} is in use by {holder.shown}; wait for its end, or give another "
                    f"output. If it died, its lease ends by itself {EXPIRE_S:g} s after its last sign of life"
                )

    def _keep(self) -> None:
        while not self._stop.wait(RENEW_S) and not self._lost:
            try:
                self._renew()
            except (BirefnetBatchError, OSError) as error:
                _log.warning("the lease of %s could not be renewed; trying again: %s", self._store.shown, error)

    def _renew(self) -> None:
        assert self._name is not None
        content = self._store.get(self._name)
        there = _parsed(content)
        # Of stores that create what is there already two runs get one number.
        if there is not None and there.run_id != self._holder.run_id:
            self._lost = _TAKEN_OVER
            return
        if content is None:
            # Who took it over may have ended already, and could not before this one was silent for too long.
            taken = self._holder.is_expired or bool(_leases(self._store))
            self._lost = _TAKEN_OVER if taken else _GONE
            return
        renewed = replace(self._holder, renewed=this_moment())
        self._store.put(self._name, _content(renewed))
        # Who took the output over between these two looked at other leases after it had made its own, as we do now: one
        # of both sees the other.
        own = self._name.removeprefix(f"{FOLDER}/")
        later = (name for name in _leases(self._store) if _number(name) > _number(own))
        if any(_read(self._store, name) is not None for name in later):
            self._lost = _TAKEN_OVER
            self._store.remove(self._name)
            return
        self._holder = renewed


def holder_of(store: Store, besides: Container[str] = ()) -> Holder | None:
    """The living holder of an output, other than these runs; None where nobody works on it."""
    living = (holder for holder in holders_of(store) if may_live(store, holder))
    return next((holder for holder in living if holder.run_id not in besides), None)


def is_held_by(store: Store, run_id: str) -> bool:
    """Whether a run holds the output that is seen from here."""
    return any(holder.run_id == run_id for holder in holders_of(store))


def holders_of(store: Store) -> list[Holder]:
    """Who holds an output, or held it and died."""
    holders = (_read(store, name) for name in _leases(store))
    return [holder for holder in holders if holder is not None]


def may_live(store: Store, holder: Holder) -> bool:
    """Whether an output's holder may still be at work."""
    if not holder.is_alive or not isinstance(store, LocalStore) or not holder.is_of_this_kernel:
        return holder.is_alive
    return not is_abandoned(store.root / SCRATCH / holder.run_id)


def _leases(store: Store) -> list[str]:
    """The names of leases; others are those that a program which keeps folders in step made of two of them."""
    return [name for name in store.names(FOLDER) if _NAME.fullmatch(name)]


def _number(name: str) -> int:
    return int(name.partition(".")[0])


def _read(store: Store, name: str) -> Holder | None:
    return _parsed(store.get(f"{FOLDER}/{name}"))


def _parsed(content: bytes | None) -> Holder | None:
    try:
        holder = Holder(**json.loads(content or b""))
        dates = [datetime.fromisoformat(date) for date in (holder.since, holder.renewed)]
    except (ValueError, TypeError):
        # Gone, not ours, or damaged: it keeps nobody out.
        return None
    return holder if all(date.tzinfo is not None for date in dates) else None


def _content(holder: Holder) -> bytes:
    return (json.dumps(asdict(holder), indent=2) + "\n").encode()
