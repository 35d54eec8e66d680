"""Results of other runs below a folder, a pattern or a bucket's prefix: no inputs, unless they are named themselves."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from birefnet_batch.output_files import JOBS, RUN, RUNS

_log = logging.getLogger(__name__)
_RECORD = re.compile(rf"(.*)/{RUNS}/[^/]+/{re.escape(RUN)}", re.DOTALL)


class Results:
    """Which folders of a disk are results of other runs.

    Args:
        top: the folder that was named, or that a pattern looks into. If it is an output, its results are asked for.
        wanted: whether those of outputs below it are as well.
    """

    def __init__(self, top: str, wanted: bool = False) -> None:
        self._top = Path(top)
        self._wanted = wanted
        self._known: dict[Path, bool] = {}

    @classmethod
    def beside_pattern(cls, pattern: str) -> Results:
        """Those that a pattern may match; one with the folder `jobs` in it wants them."""
        top = pattern
        while glob.has_magic(top):
            top = os.path.dirname(top)  # noqa: PTH120  of the text, whose rest is looked at
        return cls(top, names_results(pattern.removeprefix(top)))

    def are(self, parent: Path, name: str) -> bool:
        """Whether a folder is one of an output's own: there is a record of a run in it, or beside it.

        Not the whole output, for that may be a folder of videos.
        """
        if name not in (JOBS, RUNS) or self._wanted:
            return False
        if parent not in self._known:
            # One that has only just begun has no manifest yet.
            self._known[parent] = parent != self._top and any(parent.glob(f"{RUNS}/*/{RUN}"))
        return self._known[parent]

    def hold(self, file: Path) -> bool:
        """Whether a file below what was named is one of them."""
        return any(
            self.are(folder.parent, folder.name)
            for folder in file.parents
            if folder != self._top and folder.is_relative_to(self._top)
        )

    def log_left_out(self) -> None:
        """Say which were left out."""
        log_left_out([str(folder) for folder, is_output in self._known.items() if is_output])


def results_among(names: Iterable[str], top: str) -> tuple[str, ...]:
    """The prefixes of results of other runs among the objects of a bucket, `bucket/out/jobs/`.

    Args:
        names: all objects below `top`.
        top: the prefix that was named, without a slash at its end. If it is an output, its results are asked for.
    """
    outputs = {found[1] for name in names if (found := _RECORD.fullmatch(name))} - {top}
    return tuple(f"{output}/{JOBS}/" for output in sorted(outputs))


def names_results(pattern: str) -> bool:
    """Whether a pattern has the folder of results in it, so that these are asked for."""
    return JOBS in pattern.split("/")


def log_left_out(outputs: Collection[str]) -> None:
    """Say in one line which outputs were left out."""
    if outputs:
        others = f" and of {len(outputs) - 1} more" if len(outputs) > 1 else ""
        what_to_do = "to take them, name such an output itself, or its folder jobs"
        _log.info("results of other runs are no inputs: those of %s%s; %s", min(outputs), others, what_to_do)
