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
