"""`storage.options.s3.endpoint_url=...` on the command lines of the small programs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

import yaml

from birefnet_batch.command_line import takes_text
from birefnet_batch.config_errors import LITERAL, shown_word, unreadable
from birefnet_batch.errors import ConfigError
from birefnet_batch.manifest_entries import BAD_TAG, BAD_TAG_ERRORS
from birefnet_batch.redaction import Redactor
from birefnet_batch.settings import Settings, StorageSettings

_UNSET = re.compile(r"Environment variable '[^']*' not found")


def add_storage_words(parser: argparse.ArgumentParser) -> None:
    """Have a program take `storage.KEY=VALUE` after its other words, as `settings`."""
    # Without a default argparse says that they are required.
    parser.add_argument(
        "settings", nargs="*", default=[], help="storage.KEY=VALUE, such as storage.options.s3.endpoint_url=..."
    )


def storage_from_words(words: Sequence[str]) -> StorageSettings:
    """The settings of storage that a command line gives, the defaults for what it leaves out.

    Args:
        words: `storage.KEY=VALUE`, as in the main program.

    Raises:
        ConfigError: a word is no storage setting, or its value is none that it can have.
    """
    from omegaconf import OmegaConf
    from omegaconf._utils import get_yaml_loader
    from omegaconf.errors import OmegaConfBaseException

    for word in words:
        if not word.startswith("storage.") or "=" not in word:
            raise ConfigError(
                f"{shown_word(word)!r} is not understood; settings of storage are given as storage.KEY=VALUE"
            )
    given = OmegaConf.create()
    try:
        for word in words:
            key, _, value = word.partition("=")
            try:
                if takes_text(key) and isinstance(yaml.load(value, Loader=get_yaml_loader()), bool | int | float):
                    OmegaConf.update(given, key, value)
                else:
                    given.merge_with_dotlist([word])
            except yaml.YAMLError as error:
                raise ConfigError(unreadable(word, str(error))) from None
            except OmegaConfBaseException:
                # Some of them are of the kinds below too.
                raise
            except (*BAD_TAG_ERRORS, TypeError, ValueError):
                raise ConfigError(unreadable(word, BAD_TAG)) from None
        merged = OmegaConf.merge(OmegaConf.structured(StorageSettings()), given.get("storage") or {})
        storage = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key, reason = error.full_key or "", Redactor({}).text(str(error).splitlines()[0])
        unset = _UNSET.search(reason)
        if unset:
            reason = f"storage.{key}: {unset.group()}"
        elif "options" in key:
            # What the library says of it repeats the value.
            reason = f"storage.{key}; give options by their names, storage.options.SCHEME.NAME=VALUE; {LITERAL}"
        raise ConfigError(f"The settings of storage cannot be used: {reason}") from None
    assert isinstance(storage, StorageSettings)
    Settings(storage=storage).validate()
    return storage
