"""Stages beside the network take no processor from it."""

from __future__ import annotations

import threading

import torch

from birefnet_batch.process_tuning import compute_alone, keep_freed_memory


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


def test_keeping_memory_can_be_asked_for_again():
    keep_freed_memory()
    keep_freed_memory()
    assert torch.zeros(64 << 20, dtype=torch.uint8).sum() == 0
