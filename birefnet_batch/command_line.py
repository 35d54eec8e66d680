"""The words of a command line: which need quotes that Hydra wants, and which jobs a sweep consists of."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from birefnet_batch.config_errors import unreadable
from birefnet_batch.errors import ConfigError
from birefnet_batch.url_redaction import redact_text

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_TEXT_KEYS = frozenset(
    (
        *("request.video_url", "request.model", "request.video_output_type"),
        *("request_file", "manifest", "output", "media.background", "storage.scratch"),
        *("weights_folder", "engine.store", "engine.shared_store", "executor.address", "executor.scratch"),
    )
)
# Their names are texts; braces hold settings.
_GROUPS = frozenset(("experiment", "request", "engine", "executor", "storage", "media", "models"))
# Credentials may consist of digits.
_TEXT_IN_GROUP = re.compile(
    r"\+{0,2}(weights\.\w+|models\.\w+\.(weights|name|licence)|executor\.runtime_env\.env_vars\.\w+"
    r"|storage\.options\.[\w.]*(?i:key|key_id|token|secret|password|account_name|connection_string))"
)
_OVERRIDE = re.compile(r"[+~]{0,2}[\w.@:/-]+=.*|~[\w.@:/-]+", re.DOTALL)
# What Hydra's grammar takes in a value without quotes, as it is: of letters, ASCII's alone.
_PLAIN = re.compile(r"(?:[\w \t/:%+.@?|*$-]|\$\{[\w.:]*\})*", re.ASCII)
# Quotes and brackets may be Hydra's own, and say what a comma means.
_GRAMMAR = re.compile(r"['\"(){}\[\]]")


def quoted(words: Sequence[str], sweep: bool) -> list[str]:
    """Put the quotes of Hydra's grammar around texts that need them.

    A shell has taken the user's own quotes away, and paths and signed URLs are full of parentheses and equals signs.

    Args:
        words: the arguments.
        sweep: whether commas separate the values of a sweep.
    """
    return [_quoted(word, sweep) for word in words]


def takes_text(key: str) -> bool:
    """Whether the setting takes a text whatever it looks like: a number is one too."""
    return key in _TEXT_KEYS or _TEXT_IN_GROUP.fullmatch(key) is not None


def _quoted(word: str, sweep: bool) -> str:
    key, equals, value = word.partition("=")
    if not equals or word.startswith("-") or value[:1] in ("'", '"'):
        return word
    is_text = (takes_text(key) and not _is_mapping(key, value)) or (key in _GROUPS and _has_other(value, sweep))
    # An equals sign or another alphabet has no meaning in the grammar, whatever the setting.
    if not is_text and ((value.isascii() and "=" not in value) or _GRAMMAR.search(value)):
        return word
    if not (sweep and "," in value):
        return f"{key}={_text(value)}"
    return word if _GRAMMAR.search(value) else f"{key}={','.join(map(_text, value.split(',')))}"


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and not _is_other(value):
        return value
    # Backslashes mean themselves, except before a quote and before the closing one.
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f'"{escaped}"'


def _has_other(value: str, sweep: bool) -> bool:
    return any(map(_is_other, value.split(",") if sweep else [value]))


def _is_mapping(key: str, value: str) -> bool:
    """Whether it is one where the library of a bucket takes one: gcsfs has a whole account for a token."""
    return key.lstrip("+").startswith("storage.options.") and value.startswith("{")


def _is_other(value: str) -> bool:
    """Whether the grammar would take it for a number or a boolean: `2026_11_28` for 20261128."""
    try:
        float(value)
    except ValueError:
        return value.strip().lower() in ("true", "false")
    return True


def given_overrides() -> list[Override]:
    """The words that the present configuration was composed with, as Hydra reads them; none outside of its programs."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    if not HydraConfig.initialized():
        return []
    # As they were given: what an interpolation makes of one need not be of the grammar, and may be a secret.
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return OverridesParser.create().parse_overrides(words)


def without_hydras_records(words: Sequence[str]) -> list[str]:
    """Ask Hydra for no records of its own where a primary configuration of the user's own may not say so.

    They would have the settings as they are, with all that is secret in them.

    Args:
        words: the arguments.
    """
    if not any(word.startswith(("--config-n", "-cn")) for word in words):
        return list(words)
    unkept = ("hydra.output_subdir=null", "hydra.run.dir=.", "hydra/job_logging=none", "hydra/hydra_logging=none")
    given = {word.partition("=")[0].lstrip("+") for word in words}
    return [*words, *(word for word in unkept if word.partition("=")[0] not in given)]


def refuse_other_sweeps(words: Sequence[str]) -> None:
    """Make sure that no word asks for Hydra's own sweep, which keeps the command line with its secrets in a file.

    Raises:
        ConfigError: one does.
    """
    if any(word.lstrip("+").startswith("hydra.mode=") for word in words):
        raise ConfigError("hydra.mode is not taken here; give -m for a sweep, and leave it out for a run")


def sweep_jobs(words: Sequence[str]) -> list[list[str]]:
    """The arguments of each job of a sweep, in the order in which Hydra's own sweeper has them.

    Hydra composes every job before it runs the first, so that one wrong value costs them all, and keeps the
    command line in a file, whatever secrets it holds.

    Args:
        words: the arguments without `-m`.

    Raises:
        ConfigError: they cannot be read, or ask for a sweep without an end.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ValueType
    from hydra.errors import HydraException, OverrideParseException

    overrides = [word for word in words if _OVERRIDE.fullmatch(word) and not word.startswith("-")]
    flags = [word for word in words if word not in overrides]
    choices: list[list[str]] = []
    try:
        for override in OverridesParser.create().parse_overrides(overrides):
            if not override.is_sweep_override():
                assert override.input_line is not None
                choices.append([override.input_line])
            elif override.is_discrete_sweep() and override.value_type is not ValueType.GLOB_CHOICE_SWEEP:
                key = override.get_key_element()
                choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
            else:
                raise ConfigError(f"{override.input_line} is no list of values; give some, separated by commas")
    except OverrideParseException as error:
        raise ConfigError(unreadable(error.override, str(error), sweep=True)) from None
    except HydraException as error:
        raise ConfigError(redact_text(str(error))) from None
    return [[*flags, *job] for job in itertools.product(*choices)]


def own_words(jobs: Sequence[Sequence[str]]) -> list[list[str]]:
    """What tells the jobs of a sweep apart: those of each one's arguments that not all of them have."""
    common = set(jobs[0]).intersection(*jobs[1:])
    return [[word for word in job if word not in common] for job in jobs]


def numbered(job: Sequence[str], number: int) -> list[str]:
    """The arguments of a sweep's job with its number, from 0, as Hydra's own sweeper sets it: `${hydra:job.num}`."""
    return [*job, f"hydra.job.num={number}"]
