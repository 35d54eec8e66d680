"""Stages beside the network take no processor from it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import pytest
import torch

from birefnet_batch.process_tuning import SPINS, compute_alone, keep_freed_memory, no_garbage, spin_briefly


def in_a_thread(work) -> list[int]:
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.extend(work()))
    thread.start()
    thread.join()
    return seen


def test_only_the_thread_that_asks_computes_alone():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:

        def ask() -> list[int]:
            compute_alone()
            torch.randn(300, 300) @ torch.randn(300, 300)
            return [torch.get_num_threads()]

        assert in_a_thread(ask) == [1]
        assert torch.get_num_threads() == 3
        assert in_a_thread(lambda: [torch.get_num_threads()]) == [3]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("chosen", [{}, {"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}])
def test_threads_wait_awake_for_a_moment_only_unless_the_user_chose(
    chosen: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.environ", {**os.environ, **chosen})
    spin_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == chosen.get("GOMP_SPINCOUNT", None if chosen else SPINS)


def test_the_program_sets_it_before_openmp_is_loaded() -> None:
    program = (
        "import sys; import birefnet_batch.__main__ as m; import birefnet_batch.process_tuning as p;"
        "p.spin_briefly = lambda: print([name for name in sys.modules if name in ('torch', 'numba')]);"
        "sys.exit(m._main([]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_keeping_memory_can_be_asked_for_again():
    keep_freed_memory()
    keep_freed_memory()
    assert torch.zeros(64 << 20, dtype=torch.uint8).sum() == 0


def test_a_thread_that_cannot_be_set_up_leaves_others_their_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with monkeypatch.context() as patched, pytest.raises(RuntimeError):
            patched.setattr(threading.Thread, "start", refused)
            compute_alone()
        assert torch.get_num_threads() == 3
        assert in_a_thread(lambda: [torch.get_num_threads()]) == [3]
    finally:
        torch.set_num_threads(before)


KEPT = """
import ctypes, re, resource, sys
from birefnet_batch.process_tuning import give_freed_memory_back, keep_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
MIB = 1 << 20

def held():
    return int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024

def grown():
    before, blocks = held(), [libc.malloc(8 * MIB) for _ in range(32)]
    for block in blocks:
        libc.free(block)
    return held() - before

if sys.argv[1] == "limited":
    resource.setrlimit(resource.RLIMIT_AS, (1 << 46, resource.getrlimit(resource.RLIMIT_AS)[1]))
keep_freed_memory()
first = grown()
at = held()
give_freed_memory_back()
print(first, at - held(), grown())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
@pytest.mark.parametrize("limit", ["limited", "free"])
def test_memory_that_ran_out_under_a_limit_is_given_back_from_then_on(limit: str) -> None:
    done = subprocess.run([sys.executable, "-c", KEPT, limit], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    kept, given_back, kept_then = map(int, done.stdout.split())
    assert kept > 200, "MiB of the 256 that were freed"
    if limit == "limited":
        assert given_back > 200
        assert kept_then < 20
    else:
        assert given_back < 20
        assert kept_then < 20, "what was kept is used again"


@pytest.mark.parametrize("searched", [True, False])
def test_garbage_is_searched_for_again_if_it_was_before(searched: bool) -> None:
    assert gc.isenabled()
    try:
        if not searched:
            gc.disable()
        with pytest.raises(KeyError), no_garbage():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() is searched
    finally:
        gc.enable()
