"""`birefnet-batch-weights`: a folder of checkpoints for machines without a network."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from birefnet_batch.digests import file_sha256
from birefnet_batch.errors import ConfigError, WeightsError
from birefnet_batch.exit_status import FAILED, INTERRUPTED, OK, status_of
from birefnet_batch.models.entries import is_key
from birefnet_batch.models.file_text import printable
from birefnet_batch.models.hub import cached, is_damaged
from birefnet_batch.models.models_file import add_models_option, read_models
from birefnet_batch.models.registry import SHIPPED, Catalogue, ModelSpec
from birefnet_batch.models.spec import hub_name, hub_repository
from birefnet_batch.models.weights import (
    DEFAULT_FOLDER,
    fetch_command,
    folder_setting,
    locate_weights,
    on_hub,
    weights_setting,
)
from birefnet_batch.models.weights_folder import checkpoint_in, fetch, names_in, source_in, verify
from birefnet_batch.option_values import folder
from birefnet_batch.refusals import absence, system_reason
from birefnet_batch.standard_streams import mend_streams
from birefnet_batch.uris import user_path


def main() -> None:
    """Run the program."""
    mend_streams()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("birefnet_batch").addHandler(handler)
    logging.getLogger("birefnet_batch").setLevel(logging.INFO)
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted: the same command goes on where it stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)


def run(words: Sequence[str]) -> int:
    """Do what the words say and return the exit status, see `status_of`."""
    arguments = _parser().parse_args(words)
    folder = user_path(arguments.folder)
    return status_of(lambda: arguments.action(folder, arguments.models, read_models(arguments.catalogue)))


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(spec.short_name for spec in _to_have(SHIPPED))
    parser = argparse.ArgumentParser(
        prog="birefnet-batch-weights",
        description="Keep checkpoints in a folder, for machines without a network.",
        epilog=f"Use the folder with `birefnet-batch weights_folder={DEFAULT_FOLDER}`. Exit status: 0 all is right, "
        "1 something is not, 2 wrong arguments.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, text: str, action: object, models: str, nargs: str) -> None:
        added = commands.add_parser(name, help=text, description=text)
        if models:
            added.add_argument("models", nargs=nargs, metavar="MODEL", help=models)
        added.add_argument("--folder", type=folder, default=DEFAULT_FOLDER, help="the folder (default: %(default)s)")
        add_models_option(added)
        added.set_defaults(action=action)
        if not models:
            added.set_defaults(models=[])

    command(
        "fetch",
        "fetch checkpoints from the hub; what is there stays, what was interrupted goes on",
        _fetch,
        f"{names}, one of --models, all, or NAME=OWNER/REPOSITORY[@REVISION] for another revision of one, or any other",
        "+",
    )
    command("list", "show what the folder and the hub's cache hold", _list, "", "")
    command(
        "verify",
        "read checkpoints again, all of each, and compare them with what was fetched and with their network",
        _verify,
        "default: all of the folder and of --models",
        "*",
    )
    return parser


class _Asked(NamedTuple):
    """A MODEL of `fetch`."""

    name: str
    where: str
    """As a `weights` setting has it."""
    spec: ModelSpec | None
    """None: of a name that no model has."""


def _to_have(models: Catalogue) -> list[ModelSpec]:
    """Those that are not in this package."""
    return [spec for spec in models if spec.weights is not None]


def _spec_of(name: str, models: Catalogue) -> ModelSpec | None:
    return next((spec for spec in models if name in (spec.short_name, spec.name)), None)


def _asked(words: Sequence[str], models: Catalogue) -> list[_Asked]:
    asked: list[_Asked] = []
    for word in words:
        name, _, given = word.partition("=")
        spec = _spec_of(name, models)
        if word == "all":
            asked += [_Asked(each.short_name, each.weights or "", each) for each in _to_have(models)]
        elif given:
            # A name that no model has becomes a folder's.
            if hub_repository(given) is None or (spec is None and not is_key(name)):
                name_is = "NAME has small letters, digits and underscores"
                raise ConfigError(f"{word} is no NAME=OWNER/REPOSITORY[@REVISION]; {name_is}")
            asked.append(_Asked(name if spec is None else spec.short_name, given, spec))
        elif spec is None or spec.weights is None:
            known = ", ".join(each.short_name for each in _to_have(models))
            raise ConfigError(
                f"{word} is no model to fetch; give {known}, all or NAME=OWNER/REPOSITORY; "
                "one of yours comes with --models FILE"
            )
        else:
            asked.append(_Asked(spec.short_name, spec.weights, spec))
    return asked


def _fetch(folder: Path, words: list[str], models: Catalogue) -> int:
    status, settings = OK, [folder_setting(str(folder))]
    fetched = False
    for name, where, spec in _asked(words, models):
        try:
            if spec is not None and where == spec.weights and not on_hub(spec):
                _say(f"{name}: nothing to fetch, {_own_file(spec)}")
                continue
            hub = hub_repository(where)
            assert hub is not None
            source, new = fetch(folder, name, *hub, judge=partial(_check, spec=spec))
        except WeightsError as error:
            # The others may be had all the same.
            _warn(f"error: {error}")
            status = FAILED
            continue
        came = f"{source.repository}@{source.commit}"
        try:
            network = _check(checkpoint_in(folder, name), spec)
        except WeightsError as error:
            # It came whole: fetching it again would bring the same.
            _warn(f"error: {name}: what {came} has cannot be used: {error}")
            status = FAILED
            continue
        fetched = True
        state = "fetched" if new else "there already"
        _say(f"{name}: {state}, {came}, {source.size:,} bytes, sha256 {source.sha256}, network {network}")
        if spec is None:
            entry = f"{name}: {{network: {network}, weights: {where}}}"
            _say(f"no model is called {name} here; a run takes one of this entry of its `models`: {entry}")
        elif not on_hub(spec) or not source.is_of(*(hub_repository(spec.weights or "") or hub)):
            settings.append(weights_setting(spec, where))
    if fetched and status == OK:
        _say(f"use them with {' '.join(settings)}")
    return status


def _list(folder: Path, _: list[str], models: Catalogue) -> int:
    held, status = names_in(folder), OK
    for name in held:
        try:
            source = source_in(folder, name)
        except WeightsError as error:
            # The others are there all the same.
            _say(f"{name}: {error}")
            status = FAILED
            continue
        came = f"{source.repository}@{source.commit}" if source else "put there by hand"
        _say(f"{name}: {checkpoint_in(folder, name)}, {came}, {checkpoint_in(folder, name).stat().st_size:,} bytes")
    for spec in _to_have(models):
        name, where = spec.short_name, spec.weights or ""
        hub = hub_repository(where) if on_hub(spec) else None
        if hub is None:
            there = os.path.exists(user_path(where))  # noqa: PTH110  Path.exists raises where a folder is closed
            _say(f"{name}: {where}{'' if there else f', which {absence(user_path(where))}'}")
            continue
        path = cached(*hub)
        if path is not None:
            size = path.stat().st_size
            _say(f"{name}: the hub's cache, {hub[0]}@{path.parent.name}, {size:,} bytes")
        elif name not in held:
            _say(f"{name}: not here; `{fetch_command(spec, hub_name(*hub), str(folder))}`")
    return status


def _verify(folder: Path, words: list[str], models: Catalogue) -> int:
    held = names_in(folder)
    own = [spec.short_name for spec in models if spec not in SHIPPED.models and spec.short_name not in held]
    names = words or [*held, *own]
    if not names:
        raise WeightsError(
            f"{folder} holds no weights; `birefnet-batch-weights fetch MODEL --folder {shlex.quote(str(folder))}`"
        )
    status = OK
    for word in names:
        spec = _spec_of(word, models)
        name = word if spec is None else spec.short_name
        try:
            if spec is not None and name not in held:
                _say(f"{name}: right, {_in_cache(spec, folder) if on_hub(spec) else _own_file(spec)}")
                continue
            source = verify(folder, name)
            network = _check(checkpoint_in(folder, name), spec)
        except WeightsError as error:
            _say(f"{name}: {error}")
            status = FAILED
            continue
        what = "put there by hand" if source is None else f"{source.repository}@{source.commit}"
        _say(f"{name}: right, {what}, network {network}")
    return status


def _say(line: str) -> None:
    # Folders and what lies in them may come from anywhere.
    print(printable(line))


def _warn(line: str) -> None:
    print(printable(line), file=sys.stderr)


def _own_file(spec: ModelSpec) -> str:
    """What is said of a checkpoint that is a file of this machine, once it was read.

    Raises:
        WeightsError: it is missing, or not the model's.
    """
    found = locate_weights(spec)
    network = _check(found.path, spec)
    return f"{found.path}, {found.path.stat().st_size:,} bytes, sha256 {found.sha256}, network {network}"


def _in_cache(spec: ModelSpec, folder: Path) -> str:
    """What is said of a checkpoint that the hub's cache has, once all of it was read.

    Raises:
        WeightsError: it is not there, damaged, or not the model's.
    """
    where = spec.weights or ""
    hub = hub_repository(where)
    path = cached(*hub) if hub is not None else None
    if hub is None or path is None:
        raise WeightsError(f"not here; `{fetch_command(spec, where, str(folder))}`")
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {system_reason(error)}") from None
    if is_damaged(path, digest):
        raise WeightsError(
            f"what the hub's cache has is damaged (sha256 {digest}); delete {path.resolve()}, and the next run fetches "
            "it again"
        )
    return f"the hub's cache, {hub[0]}@{path.parent.name}, sha256 {digest}, network {_check(path, spec)}"


def _check(path: Path, spec: ModelSpec | None) -> str:
    from birefnet_batch.models.checkpoint import check_file

    return check_file(path, spec)


if __name__ == "__main__":
    main()
