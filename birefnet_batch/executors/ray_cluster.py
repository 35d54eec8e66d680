"""The Ray cluster of a run: started here, or joined; what a worker reserves in it, and how many there is room for."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock

from birefnet_batch.engines.required import device_for
from birefnet_batch.errors import ConfigError
from birefnet_batch.executors.ray_address import check_address, check_own_address, not_joined
from birefnet_batch.executors.ray_environment import check_environment, environment
from birefnet_batch.executors.ray_folder import LONGEST, end_rays, last_words, own_folder
from birefnet_batch.executors.ray_paths import absolute_paths
from birefnet_batch.executors.ray_room import Reminder, Share, lacking
from birefnet_batch.executors.ray_signals import hangups_blocked, signal_handlers_kept
from birefnet_batch.process_tuning import usable_processors, usual_threads
from birefnet_batch.refusals import one_line
from birefnet_batch.settings import Device, ExecutorSettings, Settings

_log = logging.getLogger(__name__)
_LOOK_EVERY_S = 1.0
# One for the life of the process: Ray remembers the first.
_TOKEN = secrets.token_hex(32)


def require_ray() -> Any:
    """The Ray library.

    Raises:
        ConfigError: it is not installed.
    """
    # Ray takes lines for the same that differ in their video's id, and leaves out all but one. It reads this once, when
    # it is imported, wherever the driver runs: in `ray job submit` too.
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "executor=ray needs Ray, which is not installed; install it with pip install 'birefnet-batch[ray]', "
            "or give executor=local"
        ) from None
    return ray


class RayCluster:
    """A context in which Ray can be used. What it started it ends; a Ray that was in use already stays so.

    Args:
        ray: the library.
        settings: the run's.
    """

    def __init__(self, ray: Any, settings: Settings) -> None:
        self._ray = ray
        self._executor: ExecutorSettings = settings.executor
        self._engine = settings.engine
        self._device = Device(settings.engine.device_wish)
        # Chosen in this process: inside an actor torch would be told another number by Ray.
        self.threads = settings.engine.threads or usual_threads()
        self._owned = False
        self._folder: Path | None = None
        self._lock: FileLock | None = None
        self._environment: dict[str, str | None] = {}

    def __enter__(self) -> RayCluster:
        """Start or join.

        Raises:
            ConfigError: there is no cluster at the address, Ray cannot be started on this machine, it has no room for a
                worker, or executor.runtime_env is none of Ray's.
            EngineError: this machine, where all workers are, does not have the device that is asked for.
        """
        check_environment(self._environment_given())
        if not self._ray.is_initialized():
            self._owned = True
            try:
                with signal_handlers_kept(), hangups_blocked():
                    # Inside `ray job submit` the cluster is named so.
                    address = self._executor.address or os.environ.get("RAY_ADDRESS")
                    self._start() if address is None else self._join(address)
                if address is not None:
                    self._await_nodes()
                elif (lack := lacking(self.share(), self.nodes())) is not None:
                    # The engine says better what it lacks than its reservation.
                    device_for(self._engine)
                    raise ConfigError(
                        f"executor=ray on this machine: {lack}; ask for less, or join a cluster by address"
                    )
            except BaseException:
                self.__exit__(None, None, None)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._owned:
            return
        self._owned = False
        with signal_handlers_kept():
            self._ray.shutdown()
        for name, value in self._environment.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        if self._folder is not None:
            # Of a Ray that did not start it ends nothing.
            end_rays(self._folder)
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()

    @property
    def device(self) -> Device:
        """Where the workers' engines run: the same for all, so that all give the same bytes."""
        if self._device is not Device.auto:
            return self._device
        return Device.cuda if self._ray.cluster_resources().get("GPU", 0) > 0 else Device.cpu

    def share(self) -> Share:
        """What one worker reserves."""
        asked, others = self._executor, tuple(self._executor.resources.items())
        if self.device is Device.cuda:
            return Share(asked.cpus_per_worker or 1.0, asked.gpus_per_worker, others)
        return Share(asked.cpus_per_worker or float(self.threads), 0.0, others)

    def nodes(self) -> list[dict[str, float]]:
        """The resources of each living node."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    @property
    def grows(self) -> bool:
        """Whether further nodes may join: not one that was started for this run."""
        return self._folder is None

    @property
    def brings_files(self) -> bool:
        """Whether Ray gives the workers a copy of a folder to work in: relative paths are of that one."""
        given = self._ray.get_runtime_context().runtime_env
        return bool(given.get("working_dir") or self._executor.runtime_env.get("working_dir"))

    def wanted(self, share: Share) -> int:
        """How many workers there should be now."""
        if self._executor.workers is not None:
            return self._executor.workers
        # One that waits for room is an autoscaling cluster's cue for its first node.
        return max(1, sum(map(share.fits, self.nodes())))

    def _await_nodes(self) -> None:
        """Until there is something to tell the device from, when nothing of it was said."""
        reminder = Reminder()
        while self._device is Device.auto and not any(node.get("CPU") or node.get("GPU") for node in self.nodes()):
            if reminder.due(True, time.monotonic()):
                _log.warning(
                    "engine.device=auto waits for the cluster's first node with CPUs or a GPU; give engine.device=cuda "
                    "(or cpu) to have an autoscaling cluster start such nodes for this run"
                )
            time.sleep(_LOOK_EVERY_S)

    def _start(self) -> None:
        check_own_address(self._ray.util.get_node_ip_address())
        try:
            folder, self._lock = own_folder()
        except OSError as error:
            raise ConfigError(
                "executor=ray cannot start Ray on this machine, with its files in the folder for temporary ones: "
                f"{one_line(error)}; give a folder that can be written, of at most {LONGEST} characters, as TMPDIR"
            ) from None
        self._folder = folder
        if not any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
            # Otherwise Ray writes a token into the user's home folder, and says so.
            self._set("RAY_AUTH_TOKEN", _TOKEN)
            logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
        if "RAY_USAGE_STATS_ENABLED" not in os.environ:
            # Ray reports what it is used for.
            self._set("RAY_USAGE_STATS_ENABLED", "0")
        processors = float(usable_processors())
        workers, each = self._executor.workers, self._executor.cpus_per_worker or float(self.threads)
        try:
            self._ray.init(
                # Who asks for more workers than there are processors for has them share.
                num_cpus=max(processors, (workers or 1) * each),
                num_gpus=0 if self._device is Device.cpu else None,
                include_dashboard=False,
                _temp_dir=str(folder),
                **self._common(),
            )
        except Exception as error:
            # Of a node process that dies Ray says with a bare Exception that it took too long.
            said = f"; its node process (raylet) says: {words}" if (words := last_words(folder)) else ""
            raise ConfigError(
                f"executor=ray cannot start Ray on this machine, with its files in {folder.parent}: "
                f"{one_line(error).removesuffix('.')}{said}; mend what is lacking (it writes to /dev/shm, and takes "
                f"hundreds of processes and threads), give a folder of at most {LONGEST} characters as TMPDIR, or give "
                "executor=local"
            ) from None

    def _join(self, address: str) -> None:
        check_address(address)
        try:
            self._ray.init(address=address, **self._common())
        except (ConnectionError, ValueError, RuntimeError, self._ray.exceptions.RayError) as error:
            raise not_joined(address, one_line(error)) from None

    def actor_environment(self) -> dict[str, Any] | None:
        """The runtime environment that an actor needs of its own: none in a cluster that was opened with it."""
        return None if self._owned else self._environment_given()

    def _environment_given(self) -> dict[str, Any]:
        return environment(self._executor.runtime_env, self.threads)

    def _common(self) -> dict[str, Any]:
        return {
            "runtime_env": self._environment_given(),
            "namespace": f"birefnet-batch-{secrets.token_hex(4)}",
            "logging_level": logging.WARNING,
            "log_to_driver": True,
        }

    def _set(self, name: str, value: str) -> None:
        self._environment[name] = os.environ.get(name)
        os.environ[name] = value


def resolved(settings: Settings, cluster: RayCluster) -> Settings:
    """The settings as the workers get them: what each machine would choose for itself is chosen once, for all."""
    engine = replace(settings.engine, device=cluster.device, threads=cluster.threads)
    settings = replace(settings, engine=engine)
    return settings if cluster.brings_files else absolute_paths(settings)
