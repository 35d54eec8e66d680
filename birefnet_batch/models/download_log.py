"""A hub's download on a terminal is a bar; elsewhere, in a log file or a batch job, a line now and then."""

from __future__ import annotations

import logging
from typing import Any

from rich.filesize import decimal

from birefnet_batch.storage.fetch_log import FetchLog

_log = logging.getLogger(__name__)


def bar_or_lines(name: str) -> Any:
    """What huggingface_hub's `http_get` takes as `tqdm_class`.

    Where it shows no bar, a line is logged when the transfer begins and then every ten seconds.

    Args:
        name: what is fetched.
    """
    from huggingface_hub.utils.tqdm import tqdm

    # tqdm has no types.
    bar: Any = tqdm

    class BarOrLines(bar):  # type: ignore[misc]
        """Told of the bytes of one transfer, also after its connection was cut and taken up again."""

        def __init__(self, *arguments: Any, total: int | None = None, initial: int = 0, **options: Any) -> None:
            super().__init__(*arguments, total=total, initial=initial, **options)
            self._came, self._size = initial, total
            if self.disable:
                size = f", {decimal(total)}" if total is not None else ""
                _log.info("fetching %s%s%s", name, size, f", {decimal(initial)} of it are here" if initial else "")
                self._tell = FetchLog(name, initial)

        def update(self, n: float | None = 1) -> Any:
            """So many bytes more; fewer, where a transfer begins anew."""
            self._came += int(n or 0)
            if self.disable:
                self._tell(self._came, self._size)
            return super().update(n)

    return BarOrLines
