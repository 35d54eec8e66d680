"""One run at a time on one output, and none kept out by a dead one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from servers import Cloud

from birefnet_batch.errors import ConfigError, OutputError
from birefnet_batch.run_ids import new_run_id
from birefnet_batch.settings import StorageSettings
from birefnet_batch.status import read_status
from birefnet_batch.storage import Output, lease
from birefnet_batch.storage.lease import Lease, holder_of, holders_of, is_held_by
from birefnet_batch.storage.lease_holder import EXPIRE_S, _world
from birefnet_batch.storage.local_store import LocalStore
from birefnet_batch.storage.stores import Store, open_store


def refuse(*_: Any) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(params=["disk", "disk without links", "s3", "gcs", "azure"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, StorageSettings]]:
    """An empty output on a disk and in each kind of bucket."""
    if request.param == "disk without links":
        request.getfixturevalue("monkeypatch").setattr(Path, "hardlink_to", refuse)
    if request.param.startswith("disk"):
        yield str(tmp_path / "out"), StorageSettings()
    else:
        cloud: Cloud = request.getfixturevalue(request.param)
        yield f"{cloud.root}/lease-{tmp_path.name}", cloud.settings(scratch=str(tmp_path / "scratch"))


def written(store: Store, name: str = "00000007.json", **changes: Any) -> None:
    """A lease as another machine's run would have left it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {
        "run_id": "other",
        "user": "ada",
        "host": "far",
        "pid": 12,
        "world": "elsewhere",
        "born": "1",
        "since": now,
        "renewed": now,
        **changes,
    }
    store.put(f".lease/{name}", json.dumps(holder).encode())


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


def test_a_second_run_is_told_who_holds_the_output_and_since_when(place: tuple[str, StorageSettings]) -> None:
    location, settings = place
    with Output(location, "first", settings) as first:
        with (
            pytest.raises(ConfigError, match=r"is in use by run first of .* \(process \d+\) since 2\d{3}-\d\d-\d\d"),
            Output(location, "second", settings),
        ):
            pass
        first.write("jobs/a/job.json", b"{}")
        holder = holder_of(first.store)
        assert holder is not None
        assert holder.run_id == "first"
    with Output(location, "second", settings) as second:
        assert second.read("jobs/a/job.json") == b"{}"
    assert holder_of(open_store(location, settings)) is None


def test_a_lease_of_another_machine_holds_until_it_expires(place: tuple[str, StorageSettings]) -> None:
    location, settings = place
    store = open_store(location, settings)
    written(store)
    with pytest.raises(ConfigError, match="run other of ada on far"), Output(location, "second", settings):
        pass
    assert store.names(".lease") == ["00000007.json"]
    written(store, since=ago(1000), renewed=ago(EXPIRE_S + 5))
    with Output(location, "second", settings):
        assert store.names(".lease") == ["00000008.json"]
    assert store.names(".lease") == []


_HOLD = """
import sys
from birefnet_batch.storage import Output
with Output(sys.argv[1], sys.argv[2]):
    print("holding", flush=True)
    sys.stdin.read()
"""


def test_the_lease_of_a_killed_process_of_this_machine_is_free_at_once(tmp_path: Path) -> None:
    killed = new_run_id()
    words = [sys.executable, "-c", _HOLD, str(tmp_path), killed]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"holding\n"
        with pytest.raises(ConfigError, match=f"is in use by run {killed}"), Output(str(tmp_path), "second"):
            pass
        holder.kill()
        holder.wait()
    with Output(str(tmp_path), "second") as output:
        assert not (tmp_path / ".scratch" / killed).exists()
        assert output.store.names(".lease") == ["00000002.json"]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that holds the output as process 1 of a namespace of its own."""
    alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.major(tmp_path.stat().st_dev) == 0 or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("needs temporary folders on a disk, and the right to make namespaces")
    words = [*alone, sys.executable, "-c", _HOLD, str(tmp_path), new_run_id()]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"holding\n"
        yield holder
        holder.kill()


def kill(container: subprocess.Popen[bytes]) -> None:
    container.kill()
    assert container.stdout is not None
    # Its end is that of all processes in it.
    assert container.stdout.read() == b""


def test_a_killed_container_of_this_machine_keeps_the_next_one_out_no_moment(
    container: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"is in use by run .* \(process 1\)"), Output(str(tmp_path), "second"):
        pass
    store = LocalStore(tmp_path)
    (holder,) = holders_of(store)
    store.put(f"runs/{holder.run_id}/run.json", b'{"status": "running"}')
    assert holder_of(store) == holder
    assert read_status(store).state == "running"
    kill(container)
    assert holder_of(store) is None
    assert read_status(store).state == "died"
    with Output(str(tmp_path), "second") as taken:
        taken.check()


def test_where_each_container_may_have_locks_for_itself_they_tell_nothing(
    container: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(container)
    # As of a network's file system.
    monkeypatch.setattr(os, "major", lambda device: 0)
    assert holder_of(LocalStore(tmp_path)) is not None


@pytest.mark.parametrize(("error", "alive"), [(PermissionError, True), (ProcessLookupError, False)])
def test_another_users_run_on_this_machine_is_alive_where_the_system_hides_its_process(
    error: type[OSError], alive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(pid: int, signal: int) -> None:
        raise error

    monkeypatch.setattr(os, "kill", kill)
    store = open_store(str(tmp_path), StorageSettings())
    # A number that no process has, so that /proc is as silent of it as of a hidden one.
    written(store, world=_world(), pid=2**30)
    (holder,) = holders_of(store)
    assert holder.is_alive == alive


def test_of_many_runs_that_start_at_once_one_gets_the_output(
    place: tuple[str, StorageSettings], request: pytest.FixtureRequest
) -> None:
    location, settings = place
    written(open_store(location, settings), since=ago(1000), renewed=ago(1000))
    ready, got, refused = threading.Barrier(6), [], []

    def start(number: int) -> None:
        mine = Lease(open_store(location, settings), f"run-{number}")
        ready.wait()
        try:
            mine.acquire()
            got.append(mine)
        except ConfigError as error:
            refused.append(error)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # What is made by a link is there whole, so that the others see a living holder. Without links it is empty for a
    # moment, which looks damaged, and a bucket may refuse while another's is being written and not list it yet (409 of
    # S3): the next number is taken too, and two that see each other both withdraw. Two at work is what must not be.
    assert len(got) == 1 if request.node.callspec.params["place"] == "disk" else len(got) <= 1
    assert len(got) + len(refused) == 6
    for mine in got:
        mine.release()


def test_a_lease_is_renewed_and_a_run_that_lost_it_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    with Output(str(tmp_path), "slept") as output:
        (name,) = output.store.names(".lease")
        first = output.read(f".lease/{name}")
        waited = threading.Event()
        for _ in range(100):
            waited.wait(0.1)
            if output.read(f".lease/{name}") != first:
                break
        else:
            raise AssertionError("the lease was not renewed")
        written(output.store, "00000002.json")
        with pytest.raises(OutputError, match="was taken over by another run"):
            for _ in range(100):
                # Again: it may have been between its look at the lease and writing it anew.
                output.store.remove(f".lease/{name}")
                waited.wait(0.05)
                output.write("jobs/a/job.json", b"{}")
    assert open_store(str(tmp_path), StorageSettings()).names(".lease") == ["00000002.json"]


def test_a_run_writes_nothing_more_when_it_slept_and_another_has_its_lease(tmp_path: Path) -> None:
    with Output(str(tmp_path), "slept") as output:
        assert output._lease is not None
        held = output._lease._holder
        output._lease._holder = replace(held, renewed=ago(EXPIRE_S + 5))
        output.write("jobs/a/job.json", b"nobody took it")
        assert not output._lease._holder.is_expired
        output._lease._holder = replace(held, renewed=ago(EXPIRE_S + 5))
        output.store.remove(".lease/00000001.json")
        written(output.store, "00000002.json")
        with pytest.raises(OutputError, match="was taken over by another run"):
            output.write("jobs/a/job.json", b"too late")
        assert output.read("jobs/a/job.json") == b"nobody took it"


def test_a_run_whose_output_was_removed_says_so_and_blames_no_other_run(place: tuple[str, StorageSettings]) -> None:
    location, settings = place
    with Output(location, "run", settings) as output:
        output.store.remove(".lease/00000001.json")
        assert output._lease is not None
        output._lease._renew()
        with pytest.raises(OutputError, match=r"is gone, or its \.lease .* mount the disk again"):
            output.write("jobs/a/job.json", b"too late")


def test_an_output_that_another_run_took_over_and_gave_back_was_taken_over(tmp_path: Path) -> None:
    with Output(str(tmp_path), "slept") as output:
        assert output._lease is not None
        output._lease._holder = replace(output._lease._holder, renewed=ago(EXPIRE_S + 5))
        output.store.remove(".lease/00000001.json")
        with pytest.raises(OutputError, match="was taken over by another run"):
            output.write("jobs/a/job.json", b"too late")


def test_a_lease_whose_creation_was_answered_late_is_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = LocalStore.create

    def twice(self: LocalStore, relative: str, content: bytes) -> bool:
        return create(self, relative, content) and create(self, relative, content)

    monkeypatch.setattr(LocalStore, "create", twice)
    with Output(str(tmp_path), "first") as output:
        assert is_held_by(output.store, "first")
        with pytest.raises(ConfigError, match="is in use by run first"), Output(str(tmp_path), "second"):
            pass
    assert output.store.names(".lease") == []


@pytest.mark.parametrize("renewed", ["yesterday", "2026-11-25T08:00:00", 5])
def test_a_lease_without_a_readable_time_keeps_nobody_out(tmp_path: Path, renewed: object) -> None:
    written(open_store(str(tmp_path), StorageSettings()), renewed=renewed)
    with Output(str(tmp_path), "mine") as output:
        assert output.list(".lease") == ["00000008.json"]


def test_a_damaged_lease_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / ".lease").mkdir()
    (tmp_path / ".lease" / "00000001.json").write_text("{oops")
    with Output(str(tmp_path), "run") as output:
        assert output.store.names(".lease") == ["00000002.json"]


def test_a_copy_that_a_synchronised_folder_made_of_a_lease_stops_no_run(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StorageSettings())
    written(store, "00000001 (conflicted copy).json")
    assert holder_of(store) is None
    with Output(str(tmp_path), "next"):
        holder = holder_of(store)
        assert holder is not None
        assert holder.run_id == "next"
    assert holder_of(store) is None


@pytest.mark.parametrize("name", [".stfolder", "00000001.json", "00000007.json"])
def test_a_folder_among_the_leases_stops_no_run_and_stays(tmp_path: Path, name: str) -> None:
    stray = tmp_path / ".lease" / name
    stray.mkdir(parents=True)
    (stray / "file").touch()
    store = open_store(str(tmp_path), StorageSettings())
    written(store, "00000006.json", renewed=ago(1000))
    for run_id in ("first", "second"):
        with Output(str(tmp_path), run_id):
            assert is_held_by(store, run_id)
            with pytest.raises(ConfigError, match="is in use by run"), Output(str(tmp_path), "another"):
                pass
        assert holders_of(store) == []
    assert [path.name for path in stray.iterdir()] == ["file"]


@pytest.mark.parametrize("when", ["between", "before", "same number"])
def test_a_run_that_was_silent_and_renews_while_another_takes_the_output_stops(when: str, tmp_path: Path) -> None:
    class Interleaved(LocalStore):
        def get(self, relative: str) -> bytes | None:
            if when == "same number":
                written(LocalStore(tmp_path), relative.removeprefix(".lease/"))
                return super().get(relative)
            found = super().get(relative)
            if when == "between" and second._name is None:
                second.acquire()
            return found

    store = LocalStore(tmp_path)
    first, second = Lease(store, "first"), Lease(LocalStore(tmp_path), "second")
    first.acquire()
    first._holder = replace(first._holder, renewed=ago(EXPIRE_S + 10))
    store.put(".lease/00000001.json", lease._content(first._holder))
    if when == "before":
        # It has its number, and has not looked at the others again.
        written(store, "00000002.json")
    first._store = Interleaved(tmp_path)
    with pytest.raises(OutputError, match="was taken over by another run"):
        first.check()
    first.release()
    assert [holder.run_id for holder in holders_of(store)] == ["second" if when == "between" else "other"]
    second.release()
