"""What a container is given of a machine is what is used of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from birefnet_batch import control_groups
from birefnet_batch.control_groups import memory_share, processor_share

GIB = 1 << 30
NO_LIMIT = "9223372036854771712\n"
SEEN = """
import os
from birefnet_batch.engines.torch_engine import TorchEngine
from birefnet_batch.process_tuning import usable_memory, usable_processors, usual_threads
os.environ.pop("OMP_NUM_THREADS", None)
print(usable_processors(), usable_memory(), usual_threads())
"""


def given(monkeypatch: pytest.MonkeyPatch, folder: Path, own: str, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "own").write_text(own)
    monkeypatch.setattr(control_groups, "OWN", folder / "own")
    monkeypatch.setattr(control_groups, "ROOT", folder / "sys")


@pytest.mark.parametrize(
    ("own", "files", "processors", "memory"),
    [
        pytest.param(
            "0::/\n", {"cpu.max": "400000 100000\n", "memory.max": f"{8 * GIB}\n"}, 4.0, 8 * GIB, id="container"
        ),
        pytest.param(
            "0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n"}, None, None, id="unbounded container"
        ),
        pytest.param(
            "0::/system.slice/job_7/step_0\n",
            {
                "system.slice/cpu.max": "max 100000\n",
                "system.slice/memory.max": f"{64 * GIB}\n",
                "system.slice/job_7/cpu.max": "150000 100000\n",
                "system.slice/job_7/memory.max": f"{16 * GIB}\n",
                "system.slice/job_7/step_0/cpu.max": "max 100000\n",
                "system.slice/job_7/step_0/memory.max": "max\n",
            },
            1.5,
            16 * GIB,
            id="a batch system's job, by the group above",
        ),
        pytest.param(
            "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
            {
                "cpu/cpu.cfs_quota_us": "250000\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": f"{4 * GIB}\n",
            },
            2.5,
            4 * GIB,
            id="version 1, the container's own group at the root",
        ),
        pytest.param(
            "5:memory:/\n4:cpu,cpuacct:/\n",
            {
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": NO_LIMIT,
            },
            None,
            int(NO_LIMIT),
            id="version 1, unbounded",
        ),
        pytest.param(
            "0::/../../elsewhere\n", {"cpu.max": "200000 100000\n"}, 2.0, None, id="a group outside of what is seen"
        ),
        pytest.param("0::/\n", {"unified/cpu.max": "300000 100000\n"}, 3.0, None, id="version 2 beside version 1"),
        pytest.param("", {}, None, None, id="none"),
        pytest.param("nonsense\n\n0::/\n", {"cpu.max": "\n", "memory.max": "many\n"}, None, None, id="nonsense"),
    ],
)
def test_the_least_of_a_group_and_those_above_it_counts(monkeypatch, tmp_path, own, files, processors, memory) -> None:
    given(monkeypatch, tmp_path, own, files)
    assert processor_share() == processors
    assert memory_share() == memory


def test_where_the_system_has_none_nothing_is_bounded(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(control_groups, "OWN", tmp_path / "absent")
    assert processor_share() is None
    assert memory_share() is None


@pytest.fixture
def groups() -> Iterator[list[Path]]:
    """A group of this machine's that is given one processor's time and 3 GiB, as the folders to enter."""
    name = f"birefnet-batch-test-{os.getpid()}"
    root = control_groups.ROOT
    first = [root / "cpu" / name, root / "memory" / name] if (root / "cpu").is_dir() else [root / name]
    limits = {
        "cpu.max": "100000 100000",
        "memory.max": str(3 * GIB),
        "cpu.cfs_quota_us": "100000",
        "memory.limit_in_bytes": str(3 * GIB),
    }
    try:
        for folder in first:
            folder.mkdir()
        written = [
            (folder / file).write_text(text)
            for folder in first
            for file, text in limits.items()
            if (folder / file).exists()
        ]
    except OSError as error:
        written = [str(error)]
    if len(written) != 2:
        for folder in first:
            with suppress(OSError):
                folder.rmdir()
        pytest.skip(f"this machine lets nobody here make control groups: {written}")
    yield first
    for folder in first:
        folder.rmdir()


def test_a_process_in_a_real_group_has_as_many_threads_and_as_much_memory_as_it_is_given(groups: list[Path]) -> None:
    enter = "".join(f"echo $$ > {folder / 'cgroup.procs'}; " for folder in groups)
    done = subprocess.run(
        ["sh", "-c", f'{enter} exec "$@"', "sh", sys.executable, "-c", SEEN],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["1", str(3 * GIB), "1"], done.stderr
