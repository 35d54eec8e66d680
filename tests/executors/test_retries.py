"""Which errors tell of a process, and not of what it worked on."""

from __future__ import annotations

import errno
import os
from concurrent.futures.thread import BrokenThreadPool

import pytest
import torch

from birefnet_batch.errors import EngineMemoryError, InputError
from birefnet_batch.executors.ledger import described
from birefnet_batch.executors.retries import is_unwell, may_be_tried_again


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
        RuntimeError("could not allocate memory for the workspace"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_what_a_process_ran_out_of_is_not_the_videos_nor_the_output_folders_fault(error: Exception) -> None:
    assert is_unwell(error)
    said = str(described(error))
    assert "ulimit" in said
    assert "output folder" not in said


def test_a_worker_without_a_folder_for_temporary_files_says_to_set_one_and_not_to_change_the_output() -> None:
    said = str(described(FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/']")))
    assert said.endswith("; set TMPDIR to a folder that can be written")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room there"),
        (errno.EDQUOT, "make room there, or have the quota raised"),
        (errno.EIO, "its disk, or the connection to it, may be failing"),
        (errno.EROFS, "mend its rights, or choose another output folder"),
    ],
)
def test_what_to_do_about_a_file_that_is_refused_fits_the_refusal(number: int, advice: str) -> None:
    reason = os.strerror(number)
    said = str(described(OSError(number, reason, "/out/file")))
    assert said.startswith(f"/out/file cannot be used: {reason.lower()}; {advice}")
    assert ("rights" in said) == (number == errno.EROFS)


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


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: out of memory"), RuntimeError("bad_alloc")])
def test_what_failed_for_want_of_memory_in_any_librarys_words_is_tried_again(error: Exception) -> None:
    assert may_be_tried_again(error)


def test_a_frame_that_does_not_fit_alone_is_not_tried_again_in_the_same_process() -> None:
    assert not may_be_tried_again(EngineMemoryError("CUDA out of memory"))
