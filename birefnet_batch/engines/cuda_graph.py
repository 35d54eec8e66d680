"""A launch of fixed shapes and addresses, recorded once as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable

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
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            launch()
    before = torch.cuda.current_stream()
    before.wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        # Other threads of the pipeline use the device meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            launch()
    except Exception as error:
        # torch leaves its own stream current where the recording cannot be ended.
        torch.cuda.set_stream(before)
        # The end of the recording may fail too, of what ended it.
        for cause in (error, error.__context__):
            if cause is not None and is_out_of_memory(cause):
                raise cause from None
        reason = one_line(error, 300)
        raise EngineError(
            f"a batch cannot be recorded as a CUDA graph: {reason}; give engine.cuda_graph=false"
        ) from None
    return graph
