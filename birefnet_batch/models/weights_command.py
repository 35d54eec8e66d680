"""`birefnet-batch-weights`: a folder of checkpoints for machines without a network."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from birefnet_batch.errors import BirefnetBatchError, WeightsError
from birefnet_batch.models.hub import cached
from birefnet_batch.models.registry import MODELS, ModelSpec
from birefnet_batch.models.spec import hub_name, hub_repository
from birefnet_batch.models.weights import DEFAULT_FOLDER, fetch_command
from birefnet_batch.models.weights_folder import checkpoint_in, fetch, names_in, source_in, verify
from birefnet_batch.uris import user_path

OK, WRONG, USAGE, INTERRUPTED = 0, 1, 2, 130
_PUBLISHED = tuple(spec for spec in MODELS if spec.repository is not None)


def main() -> None:
    """Run the program."""
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
    """Do what the words say.

    Returns:
        The exit status: 0 all is right, 1 something is not, 2 the words are wrong.
    """
    arguments = _parser().parse_args(words)
    folder = user_path(arguments.folder)
    try:
        status: int = arguments.action(folder, arguments.models)
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG
    except BirefnetBatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    return status


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(spec.short_name for spec in _PUBLISHED)
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
        added.add_argument("--folder", default=DEFAULT_FOLDER, help="the folder (default: %(default)s)")
        added.set_defaults(action=action)
        if not models:
            added.set_defaults(models=[])

    command(
        "fetch",
        "fetch checkpoints from the hub; what is there stays, what was interrupted goes on",
        _fetch,
        f"{names}, all, or NAME=OWNER/REPOSITORY[@REVISION] for a model of yours or another revision",
        "+",
    )
    command("list", "show what the folder and the hub's cache hold", _list, "", "")
    command("verify", "read checkpoints again and compare them with what was fetched", _verify, "default: all", "*")
    return parser


def _asked(words: Sequence[str]) -> list[tuple[str, str, str | None]]:
    """(short name, repository, revision) of each MODEL of `fetch`."""
    asked: list[tuple[str, str, str | None]] = []
    for word in words:
        name, _, given = word.partition("=")
        if word == "all":
            asked += [_source_of(spec) for spec in _PUBLISHED]
            continue
        if given:
            hub = hub_repository(given)
            if hub is None or not name.replace("_", "").isalnum():
                raise BirefnetBatchError(f"{word} is no NAME=OWNER/REPOSITORY[@REVISION]")
            asked.append((name, *hub))
            continue
        spec = next((spec for spec in _PUBLISHED if name in (spec.short_name, spec.name)), None)
        if spec is None:
            known = ", ".join(spec.short_name for spec in _PUBLISHED)
            raise BirefnetBatchError(f"{word} is no published model; give {known}, all or NAME=OWNER/REPOSITORY")
        asked.append(_source_of(spec))
    return asked


def _source_of(spec: ModelSpec) -> tuple[str, str, str | None]:
    hub = hub_repository(spec.weights or "")
    assert hub is not None
    return spec.short_name, *hub


def _fetch(folder: Path, words: list[str]) -> int:
    status = OK
    for name, repository, revision in _asked(words):
        try:
            source, new = fetch(folder, name, repository, revision)
        except WeightsError as error:
            # The others may be had all the same.
            print(f"error: {error}", file=sys.stderr)
            status = WRONG
            continue
        state = "fetched" if new else "there already"
        print(f"{name}: {state}, {repository}@{source.commit}, {source.size:,} bytes, sha256 {source.sha256}")
        try:
            _check_tensors(folder, name)
        except WeightsError as error:
            # It came whole: fetching it again would bring the same.
            print(f"error: {name}: what {repository}@{source.commit} has cannot be used: {error}", file=sys.stderr)
            status = WRONG
    if status == OK:
        print(f"use them with weights_folder={folder}")
    return status


def _list(folder: Path, _: list[str]) -> int:
    held = names_in(folder)
    for name in held:
        source = source_in(folder, name)
        came = f"{source.repository}@{source.commit}" if source else "put there by hand"
        print(f"{name}: {checkpoint_in(folder, name)}, {came}, {checkpoint_in(folder, name).stat().st_size:,} bytes")
    for spec in _PUBLISHED:
        name, repository, revision = _source_of(spec)
        path = cached(repository, revision)
        if path is not None:
            size = path.stat().st_size
            print(f"{name}: the hub's cache, {repository}@{path.parent.name}, {size:,} bytes")
        elif name not in held:
            print(f"{name}: not here; `{fetch_command(spec, hub_name(repository, revision), str(folder))}`")
    return OK


def _verify(folder: Path, words: list[str]) -> int:
    names = words or names_in(folder)
    if not names:
        raise WeightsError(f"{folder} holds no weights; `birefnet-batch-weights fetch MODEL --folder {folder}`")
    status = OK
    for name in names:
        try:
            source = verify(folder, name)
            _check_tensors(folder, name)
        except WeightsError as error:
            print(f"{name}: {error}")
            status = WRONG
            continue
        what = "readable, put there by hand" if source is None else f"right, {source.repository}@{source.commit}"
        print(f"{name}: {what}")
    return status


def _check_tensors(folder: Path, name: str) -> None:
    from birefnet_batch.models.checkpoint import check_file

    check_file(checkpoint_in(folder, name), next((spec for spec in MODELS if spec.short_name == name), None))
