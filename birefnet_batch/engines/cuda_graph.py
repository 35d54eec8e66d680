"""A launch of fixed shapes and addresses, recorded once as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch

from birefnet_batch.engines.memory import is_out_of_memory
from birefnet_batch.errors import EngineError
from birefnet_batch.refusals import one_line

_WARM_UPS = 3


def capture(launch: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """Record what `launch` does on the current stream.

    Args:
        launch: uses the same memory each time. It runs a few times first: what is chosen or compiled at a first
            run must not be recorded.

    Raises:
        EngineError: it cannot be recorded. torch's memory is not to be relied on after that, so that nothing goes on
            without the graph by itself.
        Exception: whatever `launch` raises outside of the recording; torch's, where memory ran out in it.
    """
    stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    # torch 2.9 and 2.10 keep tensors that a process' first recording made in its mode, and need the next ones in it.
    with torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            launch()
    before = torch.cuda.current_stream()
    before.wait_stream(stream)
    torch.cuda.synchronize()
    graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
    # cuBLAS works in memory that torch keeps for each of its 32 streams, and gives up with any graph that was recorded
    # on the stream. Made anew in the recording it is this graph's own.
    torch._C._cuda_clearCublasWorkspaces()
    try:
        # Other threads of the pipeline use the device meanwhile.
        recording = torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local")
        with torch.inference_mode(), recording:
            launch()
    except Exception as error:
        # torch leaves its own stream current where the recording cannot be ended.
        torch.cuda.set_stream(before)
        # Before 2.13 it also goes on believing in the recording, and frees little from then on; where it has ended it
        # itself, it raises here.
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(before.device_index, pool)
        memory = _out_of_memory(error)
        if memory is not None:
            try:
                raise memory from None
            finally:
                # Its trace holds this frame, and that the graph's memory.
                del memory
        reason = one_line(error, 300)
        raise EngineError(
            f"a batch cannot be recorded as a CUDA graph: {reason}; give engine.cuda_graph=false"
        ) from None
    # Nobody else shall work in what is the graph's.
    torch._C._cuda_clearCublasWorkspaces()
    return graph


def _out_of_memory(error: BaseException) -> BaseException | None:
    """The error, or the one that ended the recording whose end failed as well, where memory ran out."""
    return next((one for one in (error, error.__context__) if one is not None and is_out_of_memory(one)), None)
