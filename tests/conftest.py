"""What all tests share."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from servers import Cloud, seaweed

from birefnet_batch.process_tuning import spin_briefly

# Tests that load these themselves report nothing either.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# As each of our programs does: several processes of tests have more threads than there are processors.
spin_briefly()

TESTS = Path(__file__).parent
# One cluster and one set of servers; no process of Ray comes or goes while /dev/shm is looked at.
_TOGETHER = {
    "executors": "ray",
    "video/test_processes.py": "ray",
    "storage": "storage",
    "test_manifest_bucket.py": "storage",
}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several processes (`pytest -n 3 --dist loadgroup`) each takes whole files, those with slow tests first."""
    if not hasattr(config, "workerinput"):
        return
    groups = {item: _group(item.path.relative_to(TESTS)) for item in items}
    slow = {groups[item] for item in items if item.get_closest_marker("slow")}
    first = {group: number for number, group in enumerate(sorted(slow, key=lambda group: (group != "ray", group)))}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: first.get(groups[item], len(first)))


def _group(path: Path) -> str:
    return _TOGETHER.get(path.as_posix()) or _TOGETHER.get(path.parts[0]) or path.as_posix()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """SeaweedFS, started once."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as cloud:
        yield cloud


@pytest.fixture(autouse=True)
def _repeatable_draws() -> None:
    """A failure over random pictures can be had again, in any order of the tests."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A program that ran in this process logs to a stream that is closed, and more than other tests expect."""
    logger = logging.getLogger("birefnet_batch")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def _nothing_logged_at_error(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Iterator[None]:
    """An ERROR in the log is a failure of ours that some result hid; a test that wants one says so."""
    yield
    if request.node.get_closest_marker("logs_errors"):
        return
    records = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    logged = [record.getMessage() for record in records if record.levelno >= logging.ERROR]
    assert not logged, f"the code under test logged errors: {logged}"
