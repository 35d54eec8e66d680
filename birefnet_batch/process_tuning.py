"""What makes torch fast on a CPU beside other threads and programs (docs/performance.md), and large manifests."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from birefnet_batch.control_groups import memory_share, processor_share

# The numbers are malloc.h's.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BYTES = (1 << 31) - 1
_GIVEN_BACK_BYTES = 128 << 10
SPINS = "3000"
_choosing = threading.Lock()
_kept = threading.Event()


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 2 GiB for the next request, for the whole process.

    Otherwise every large activation is mapped anew, and cleared page by page by the kernel. For programs of our
    own: a library does not decide this for its host. Does nothing where the C library is another one.
    """
    library = _glibc()
    if library is None:
        return
    if address_space() is not None:
        # Each thread's own arena sets 64 MiB aside, which such a limit counts.
        library.mallopt(_M_ARENA_MAX, 1)
    _keep(library, _KEPT_BYTES)
    _kept.set()


def give_freed_memory_back() -> None:
    """Undo `keep_freed_memory` when memory has run out under a limit (`ulimit -v`), for the whole process.

    What was kept lies in pieces, and counts. From then on each large activation is mapped anew, which is slower.
    Does nothing in a program that did not ask for that.
    """
    library = _glibc()
    if library is not None and _kept.is_set() and address_space() is not None:
        _keep(library, _GIVEN_BACK_BYTES)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is the one that has these functions."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None)
    except OSError:
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def _keep(library: ctypes.CDLL, most: int) -> None:
    library.mallopt(_M_MMAP_THRESHOLD, most)
    library.mallopt(_M_TRIM_THRESHOLD, most)


def spin_briefly() -> None:
    """Let OpenMP's threads wait awake for some 0.1 ms before they sleep, in this process and those that it starts.

    By default libgomp's wait awake for some 10 ms at each of several hundred barriers a frame. On a busy machine that
    is time which the thread that they wait for needs itself. It reads the environment when torch loads it, so this
    comes first; whoever has set OMP_WAIT_POLICY or GOMP_SPINCOUNT has decided.
    """
    os.environ.update(waiting_variables())


def waiting_variables() -> dict[str, str]:
    """How OpenMP's threads shall wait, as environment variables; for processes that do not inherit this one's."""
    given = {name: os.environ[name] for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}
    return given or {"GOMP_SPINCOUNT": SPINS}


def compute_alone() -> None:
    """Let torch's operations in the calling thread use this thread only.

    Each thread that calls torch gets an OpenMP team of its own. As soon as all teams together have more threads than
    there are processors, libgomp's threads go to sleep at every barrier instead of spinning, and a network of many
    short operations runs at half its speed. Only the thread of the network shall have a team.
    """
    import torch

    with _choosing:
        everywhere = torch.get_num_threads()
        torch.set_num_threads(1)
        # The call above also sets what threads that are yet to come start with; a thread that ends gives it back.
        restore = threading.Thread(target=torch.set_num_threads, args=(everywhere,))
        try:
            restore.start()
        except RuntimeError:
            torch.set_num_threads(everywhere)
            raise
        restore.join()


def exact_float32() -> None:
    """Let torch multiply float32 on a GPU in float32, for the whole process: convolutions would be TF32's."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


@contextmanager
def no_garbage() -> Iterator[None]:
    """While many small objects are made that all are kept: no search for garbage, which would go through all of them.

    The searches of the whole process; whoever has switched them off keeps them so.
    """
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def usable_memory() -> int:
    """Bytes of memory that this process may have: the machine's, or what its container is given of it."""
    return min(machine_memory(), memory_share() or sys.maxsize)


def address_space() -> int | None:
    """Bytes of memory that this process may address (`ulimit -v`); None where there is no such limit."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def usable_processors() -> int:
    """How many processors this process may use: those that it may run on, or the time that its container is given.

    Of a part of a processor it may use one more: threads that stop together when the time of a period is over still
    take all of it.
    """
    present = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = processor_share()
    return present if share is None else min(present, math.ceil(share))


def usual_threads() -> int:
    """How many threads a network gets where nobody says: torch's own choice, but no more than may run.

    Torch knows which processors it may run on, but not how little of their time a container is given; with a thread
    for each of a large machine's all would be stopped for most of each period. Whoever set OMP_NUM_THREADS has decided.
    """
    import torch

    chosen = torch.get_num_threads()
    return chosen if os.environ.get("OMP_NUM_THREADS") else min(chosen, usable_processors())
