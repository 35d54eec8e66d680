"""Programs that start at once: forked from a process that has imported torch, which takes two seconds of each start.

For tests that are about what a program does in an environment of its own, not about how it starts.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing.process import BaseProcess
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
# Nothing that reads the environment as it is imported, as huggingface_hub does.
_FORKS.set_forkserver_preload(["torch", "yaml", "birefnet_batch.models"])


class Program:
    """Code that runs as `python -c` runs it.

    Args:
        code: Python.
        words: its arguments.
        env: its environment.
        cwd: its working folder.
    """

    def __init__(self, code: str, *words: str, env: dict[str, str], cwd: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._said = [Path(self._folder.name) / name for name in ("out", "err")]
        arguments = (code, words, env, str(cwd or Path.cwd()), [str(path) for path in self._said])
        self._process: BaseProcess = _FORKS.Process(target=_become, args=arguments, daemon=True)
        self._process.start()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """What it said and its exit status, after its end."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"still running after {timeout} s"
        output, errors = (path.read_text() for path in self._said)
        self._folder.cleanup()
        return subprocess.CompletedProcess("-c", self._process.exitcode, output, errors)


def _become(code: str, words: tuple[str, ...], env: dict[str, str], cwd: str, said: list[str]) -> None:
    for path, number in zip(said, (1, 2), strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["-c", *words]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
