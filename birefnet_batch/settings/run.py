"""All settings of a run, read and judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from birefnet_batch.backdrop import parse_background
from birefnet_batch.errors import ConfigError, ProblemsError
from birefnet_batch.models.registry import SHIPPED, Catalogue, ModelEntry
from birefnet_batch.settings.checks import (
    engine_problems,
    model_problems,
    range_problems,
    storage_problems,
    text_problems,
)
from birefnet_batch.settings.engine import EngineSettings
from birefnet_batch.settings.executor import ExecutorSettings
from birefnet_batch.settings.fields import Choice, Group, plain, setting
from birefnet_batch.settings.media import MediaSettings
from birefnet_batch.settings.request import RequestSettings
from birefnet_batch.settings.storage import StorageSettings
from birefnet_batch.url_redaction import redact_text

if TYPE_CHECKING:
    from omegaconf import DictConfig


class OnInvalid(Choice):
    """What to do with a manifest that has bad entries."""

    fail = "fail"
    skip = "skip"


class Resume(Choice):
    """What to do with jobs whose completion marker is there."""

    auto = "auto"
    force = "force"
    never = "never"


@dataclass(frozen=True)
class Settings(Group):
    """All settings of a run."""

    output: str | None = setting(None, "folder for results (required)")
    manifest: str | None = setting(None, "videos: a YAML, JSON, JSONL or CSV file, a folder or a glob")
    request_file: str | None = setting(None, "a JSON or YAML file with the arguments of one API call")
    on_invalid: OnInvalid = setting(OnInvalid.fail, "bad manifest entries: fail | skip")
    resume: Resume = setting(
        Resume.auto, "auto skips complete jobs | force does them again | never refuses an output that has any"
    )
    request: RequestSettings = setting(RequestSettings(), "the request fields that every video starts from")
    engine: EngineSettings = setting(EngineSettings(), "how the network runs")
    executor: ExecutorSettings = setting(ExecutorSettings(), "who runs the segments")
    storage: StorageSettings = setting(StorageSettings(), "where inputs come from and what they may cost")
    media: MediaSettings = setting(MediaSettings(), "what the written media look like")
    weights: dict[str, str | None] = setting(
        dict.fromkeys(SHIPPED.short_names),
        "a safetensors or .pth file, a folder or a hub repository (owner/name@revision); null is the published one",
    )
    weights_folder: str | None = setting(
        None, "folder that `birefnet-batch-weights fetch` filled; the hub is not asked then"
    )
    # Of any type here: entries are judged in one place, the registry.
    models: dict[str, Any] = setting({}, "models of your own, by short name", entry=ModelEntry)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The models that requests may name.

        Raises:
            ProblemsError: entries of `models` are wrong.
        """
        return SHIPPED.with_entries(self.models)

    @property
    def required_output(self) -> str:
        """`output`, which a run cannot do without.

        Raises:
            ConfigError: it is not given.
        """
        if self.output is None:
            raise ConfigError("output is missing; give output=FOLDER for the results")
        return self.output

    @classmethod
    def from_config(cls, config: DictConfig) -> Settings:
        """Resolve and validate a composed configuration.

        Raises:
            ConfigError: values that no run can have, all of them at once, or no configuration of settings.
        """
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        from birefnet_batch.config_errors import explained
        from birefnet_batch.settings.schema import unknown_keys

        if OmegaConf.get_type(config) is not Settings:
            raise ConfigError(
                "The configuration is not made of ours: its defaults list does not begin with it. Give your file as an "
                "experiment (--config-dir FOLDER experiment=NAME), or begin it with `defaults: [config, _self_]`"
            )
        unknown = list(unknown_keys(config))
        if unknown:
            raise ProblemsError("The settings have problems", unknown)
        try:
            settings = OmegaConf.to_object(config)
        except OmegaConfBaseException as error:
            raise ConfigError(f"The configuration cannot be resolved: {explained(error)}") from None
        assert isinstance(settings, cls)
        settings.validate()
        return settings

    def validate(self) -> None:
        """Check ranges and what goes together.

        Raises:
            ConfigError: every problem that was found.
        """
        problems = [*range_problems(self), *text_problems(self), *engine_problems(self.engine)]
        problems += [*model_problems(self), *storage_problems(self)]
        readers: tuple[Callable[[], Any], ...] = (
            lambda: parse_background(self.media.background),
            lambda: self.media.hardware_wish,
            lambda: self.media.deinterlace_wish,
        )
        for read in readers:
            try:
                read()
            except ConfigError as error:
                problems.append(str(error))
        if problems:
            raise ProblemsError("The settings have problems", list(map(redact_text, problems)))

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        values: dict[str, Any] = plain(asdict(self))
        return values
