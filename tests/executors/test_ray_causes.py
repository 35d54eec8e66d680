"""Of Ray's long errors job.json and the log get what says why."""

from __future__ import annotations

import pytest

from birefnet_batch.executors.ray_causes import cause

KILLED = """The actor died unexpectedly before finishing this task.
\tclass_name: RayWorker
\tactor_id: af947762929b46b84d0b7a6401000000
\tpid: 13443
\tnamespace: birefnet-batch-1234
\tip: 192.0.2.2
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was killed \
by the OOM killer due to high memory usage."""
RAISED = """\x1b[36mray::RayWorker.hello()\x1b[39m (pid=1, ip=192.0.2.2)
  File "worker.py", line 3, in hello
    import nothing
ModuleNotFoundError: No module named 'nothing'"""


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("The actor died unexpectedly before finishing this task.", "The actor died unexpectedly before finishing"),
        (KILLED, "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit"),
        (RAISED, "ModuleNotFoundError: No module named 'nothing'"),
        ("", "RuntimeError"),
    ],
)
def test_the_cause_is_what_remains_of_an_error(told: str, expected: str) -> None:
    found = cause(RuntimeError(told))
    assert found.startswith(expected)
    assert "actor_id" not in found
    assert not found.endswith(".")


def test_of_a_long_cause_whole_sentences_are_kept() -> None:
    assert cause(RuntimeError(KILLED + " And further advice." * 50)).endswith("And further advice")
    assert len(cause(RuntimeError(KILLED + " And further advice." * 50))) < 500


def test_a_cause_does_not_fill_a_page() -> None:
    assert len(cause(RuntimeError("because " * 1000))) < 500
    assert cause(RuntimeError("because " * 1000)).endswith("because ...")
