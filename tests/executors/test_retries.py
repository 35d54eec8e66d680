"""Which errors tell of a process, and not of what it worked on."""

from __future__ import annotations

import errno
from concurrent.futures.thread import BrokenThreadPool

import pytest
import torch

from birefnet_batch.errors import InputError
from birefnet_batch.executors.ledger import described
from birefnet_batch.executors.retries import is_unwell


@pytest.mark.parametrize(
    "error",
    [
        OSError("could not find/load shared object file 'libllvmlite.so'"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError(errno.EAGAIN, "Resource temporarily unavailable"),
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("can't start new thread"),
        BrokenThreadPool("A thread initializer failed"),
        ImportError("libgomp.so.1: failed to map segment from shared object"),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_what_a_process_ran_out_of_is_not_the_videos_nor_the_output_folders_fault(error: Exception) -> None:
    assert is_unwell(error)
    said = str(described(error))
    assert "ulimit" in said
    assert "output folder" not in said


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/out"),
        PermissionError(errno.EACCES, "Permission denied", "/out"),
        FileNotFoundError("bucket/key"),
        InputError("clip.mp4 is no video"),
        ValueError("a defect"),
    ],
)
def test_what_a_user_gave_or_a_defect_broke_is_not_the_processs_fault(error: Exception) -> None:
    assert not is_unwell(error)
