"""A launch of fixed shapes and addresses, recorded once as a CUDA graph."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

_log = logging.getLogger(__name__)
_WARM_UPS = 3


def capture(launch: Callable[[], object]) -> torch.cuda.CUDAGraph | None:
    """Record what `launch` does on the current stream; None where it cannot be recorded, which is logged.

    Args:
        launch: uses the same memory each time. It runs a few times first: what is chosen or compiled at a first
            run must not be recorded.

    Raises:
        Exception: whatever `launch` raises outside of the recording.
    """
    stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            launch()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        # Other threads of the pipeline use the device meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            launch()
    except RuntimeError as error:
        torch.cuda.synchronize()
        _log.warning("this engine runs without a CUDA graph: %s", " ".join(str(error).split())[:200])
        return None
    return graph
