"""The Hydra application: conf -> settings -> requests -> run -> exit status."""

from __future__ import annotations

import glob
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from birefnet_batch.command_line import (
    numbered,
    own_words,
    quoted,
    refuse_other_sweeps,
    sweep_jobs,
    without_hydras_records,
)
from birefnet_batch.conf_folder import conf_folder, demo_clips
from birefnet_batch.config_errors import explained
from birefnet_batch.errors import BirefnetBatchError, ConfigError, NoWorkerError, OutputLostError
from birefnet_batch.exit_status import FAILED, INTERRUPTED, OK, WRONG_USE, when_told_to_stop
from birefnet_batch.named_requests import requests_of
from birefnet_batch.overruled_groups import refuse_overruled_groups
from birefnet_batch.process_tuning import no_garbage
from birefnet_batch.redaction import HIDDEN, Redactor, shown_options
from birefnet_batch.settings import Settings, StorageSettings, schema_node
from birefnet_batch.sweep import beside_earlier_jobs, refuse_shared_results
from birefnet_batch.temporary_folder import require_temporary_folder

_log = logging.getLogger(__name__)
# At the end once more, where nobody has scrolled past them yet; of more than that nobody reads each.
_MOST_FAILURES = 20
_interrupts: list[int] = []
_finished: list[tuple[str, str, StorageSettings]] = []


def main() -> int:
    """Compose the configuration from `sys.argv` and run it.

    Returns:
        The exit status; in a sweep the worst of its jobs.
    """
    register()
    _set_up_logging()
    _interrupts.clear()
    _finished.clear()
    when_told_to_stop(_interrupt)
    words = sys.argv[1:]
    sweep = any(word in ("-m", "--multirun") for word in words)
    words = quoted([word for word in words if word not in ("-m", "--multirun")], sweep)
    try:
        refuse_other_sweeps(words)
        words = without_hydras_records(words)
        jobs = sweep_jobs(words) if sweep else [words]
        if len(jobs) > 1:
            refuse_shared_results(jobs, _compose)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        return INTERRUPTED
    worst = OK
    names: list[str] = []
    for number, (job, own) in enumerate(zip(jobs, own_words(jobs), strict=True), 1):
        if sweep:
            print(f"job {number} of {len(jobs)}: {' '.join(Redactor({}).words(job))}", flush=True)
        status = _run_words(numbered(job, number - 1) if sweep else job)
        if status == INTERRUPTED:
            return status
        worst = max(worst, status)
        if len(_finished) > len(names):
            names.append(" ".join(Redactor({}).words(own)))
    if len(names) > 1:
        _compare(names)
    return worst


def _compare(names: list[str]) -> None:
    """End a sweep with a table of what its jobs, of these names, made of each video."""
    from birefnet_batch.comparison import FILE, as_csv, compare_runs, show
    from birefnet_batch.storage.stores import open_store

    location, _, storage = _finished[0]
    try:
        rows = compare_runs([(*run[:2], name) for run, name in zip(_finished, names, strict=True)], storage)
        if rows:
            show(rows)
            open_store(location, storage).put(FILE, as_csv(rows))
            print(f"comparison: {location}/{FILE}")
    except (BirefnetBatchError, OSError) as error:
        print(f"error: the jobs cannot be compared: {error}", file=sys.stderr)


def _run_words(words: list[str]) -> int:
    """Compose one configuration and run it.

    Returns:
        The exit status.
    """
    statuses: list[int] = []

    def task(config: DictConfig) -> None:
        try:
            statuses.append(run_config(config))
        except Exception:
            _log.exception("the run failed unexpectedly; please report it")
            statuses.append(FAILED)

    try:
        _compose(words, task)
    except SystemExit as stop:
        # Of its own flags Hydra complains itself.
        if stop.code not in (0, None):
            return WRONG_USE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        print(f"error: {explained(error)}", file=sys.stderr)
        return WRONG_USE
    return max(statuses, default=OK)


def _compose(words: list[str], task: Callable[[DictConfig], None]) -> None:
    """Compose one configuration and give it to `task`; raises what Hydra and the task raise."""
    sys.argv = [sys.argv[0], *words]
    # Otherwise Hydra prints its errors itself, with advice that does not help here.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(task)()


def register() -> None:
    """Make the schema and the resolvers known to Hydra; harmless when done twice."""
    ConfigStore.instance().store(name="settings_schema", node=schema_node())
    OmegaConf.register_new_resolver("birefnet_demo_clips", _demo_clips, replace=True)


def _demo_clips() -> str:
    # It is the beginning of a pattern, and a checkout may be anywhere.
    return glob.escape(str(demo_clips()))


def run_config(config: DictConfig) -> int:
    """Run one composed configuration and report on standard output; errors go to standard error.

    Returns:
        The exit status.

    Raises:
        KeyboardInterrupt: the user or the system stops the program.
    """
    try:
        settings = beside_earlier_jobs(Settings.from_config(config), [output for output, _, _ in _finished])
        refuse_overruled_groups(config)
        # What a manifest in a bucket is copied into, too.
        require_temporary_folder()
        with no_garbage():
            requests, invalid = requests_of(settings)
        for entry in invalid:
            print(f"skipped: {entry.place}: {'; '.join(entry.reasons)}", file=sys.stderr)
        from birefnet_batch.batch import INVALID_ENTRIES, run

        documents = _documents(config)
        if invalid:
            documents[INVALID_ENTRIES] = "".join(f"{entry.to_json()}\n" for entry in invalid)
        summary = run(settings, requests, documents=documents, command=sys.argv, invalid=len(invalid))
    except BirefnetBatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED if isinstance(error, (NoWorkerError, OutputLostError)) else WRONG_USE
    except KeyboardInterrupt:
        print("interrupted: finished videos are whole; the same command goes on with the rest", file=sys.stderr)
        raise
    _finished.append((summary.output, summary.run_id, settings.storage))
    print(f"{summary.succeeded} succeeded, {summary.failed} failed, {summary.skipped} complete already")
    for uri, reason in summary.failures[:_MOST_FAILURES]:
        print(f"failed: {uri}: {reason}", file=sys.stderr)
    if len(summary.failures) > _MOST_FAILURES:
        more = len(summary.failures) - _MOST_FAILURES
        print(f"failed: {more} more, each in {summary.output}/manifest.jsonl", file=sys.stderr)
    print(f"results: {summary.output}/manifest.jsonl")
    if invalid:
        entries = "entry" if len(invalid) == 1 else "entries"
        print(f"{len(invalid)} {entries} skipped: {summary.output}/runs/{summary.run_id}/{INVALID_ENTRIES}")
    # An entry that is no request is a video that was not done.
    return OK if summary.ok else FAILED


def _documents(config: DictConfig) -> dict[str, str]:
    plain: Any = OmegaConf.to_container(config)
    options = plain["storage"]["options"]
    # What an interpolation makes of them is secret, and so may be what it is made of.
    plain["storage"]["options"] = shown_options(options) if isinstance(options, Mapping) else HIDDEN
    documents = {"config.yaml": _yaml(plain)}
    if HydraConfig.initialized():
        chosen: Any = HydraConfig.get()
        documents["overrides.yaml"] = _yaml(OmegaConf.to_container(chosen.overrides.task))
        documents["hydra.yaml"] = _yaml({"hydra": OmegaConf.to_container(chosen, resolve=False)})
    return documents


def _yaml(plain: Any) -> str:
    # Value by value: in the text a long one is folded, and one with spaces ends too early.
    return OmegaConf.to_yaml(OmegaConf.create(Redactor({}).value(plain)))


def _set_up_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger("birefnet_batch").addHandler(handler)
    logging.getLogger("birefnet_batch").setLevel(logging.INFO)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Stop once; who insists while that goes on waits for it, and the third time ends the program at once."""
    if number == signal.SIGHUP and _interrupts:
        # Of one closed terminal the kernel, the shell and the system tell each for itself: nobody insists.
        return
    _interrupts.append(number)
    if len(_interrupts) == 1:
        raise KeyboardInterrupt
    if len(_interrupts) > 2:
        os._exit(INTERRUPTED)
