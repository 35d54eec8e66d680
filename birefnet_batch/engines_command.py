"""`birefnet-batch-engines`: ONNX files, and the store of built engines."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from birefnet_batch.errors import ConfigError
from birefnet_batch.exit_status import FAILED, INTERRUPTED, OK, end_as_at_ctrl_c, status_of
from birefnet_batch.models.models_file import add_models_option, read_models
from birefnet_batch.option_values import folder, given
from birefnet_batch.process_tuning import spin_briefly
from birefnet_batch.standard_streams import mend_streams

if TYPE_CHECKING:
    from birefnet_batch.engines.store import EngineStore
    from birefnet_batch.models.registry import Catalogue


def main() -> None:
    """Run the program."""
    mend_streams()
    spin_briefly()
    # An export has hundreds of megabytes under another name until it is whole.
    end_as_at_ctrl_c()
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def run(words: list[str]) -> int:
    """Run one command and return the exit status, see `status_of`."""
    arguments = _parser().parse_args(words)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("birefnet_batch").setLevel(logging.INFO)
    return status_of(lambda: arguments.command(arguments))


def _parser() -> argparse.ArgumentParser:
    from birefnet_batch.engines.artifact import DeformableForm
    from birefnet_batch.engines.required import PRECISIONS
    from birefnet_batch.models.registry import SHIPPED

    parser = argparse.ArgumentParser(prog="birefnet-batch-engines", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    export = commands.add_parser("export", help="write a model at a resolution as one ONNX file")
    export.add_argument("model", metavar="MODEL", help=f"{', '.join(SHIPPED.short_names)} or one of --models")
    export.add_argument(
        "resolution", metavar="RESOLUTION", help="WIDTHxHEIGHT that the model runs at, or one number for a square"
    )
    export.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: fp32")
    export.add_argument(
        "--deform-conv",
        choices=get_args(DeformableForm),
        default="native",
        help="native: DeformConv, for ONNX Runtime (default); gridsample: decomposed, for TensorRT; "
        "openvino: decomposed, in operators of opset 19",
    )
    export.add_argument("--output", type=Path, metavar="FILE", help="default: MODEL-RESOLUTION-... in this folder")
    export.add_argument("--weights", metavar="WHERE", help="a safetensors file, a folder or a hub repository")
    export.add_argument("--no-check", action="store_true", help="do not compare the file with torch")
    export.set_defaults(command=_export)

    build = commands.add_parser("build", help="build the engines of the matrix ahead")
    build.add_argument("models", metavar="MODEL", nargs="*", help="only these; none is all")
    build.add_argument("--matrix", type=Path, metavar="FILE", help="default: the one of this package")
    build.add_argument("--engine", action="append", default=[], choices=("onnxruntime", "tensorrt"), help="only these")
    build.add_argument(
        "--compute-capability",
        action="append",
        default=[],
        metavar="SM",
        help="TensorRT-RTX: a GPU to compile for without one, such as SM89; may be repeated",
    )
    build.add_argument("--workspace-gib", type=_gib, metavar="N", help="of plans, as the runs' engine.workspace_gib")
    build.set_defaults(command=_build)
    listing = commands.add_parser("list", help="what the store holds: key, size, age, last use")
    listing.set_defaults(command=_list)
    verify = commands.add_parser("verify", help="run each engine of the store against torch and print the error")
    verify.set_defaults(command=_verify)
    prune = commands.add_parser(
        "prune", help="remove damaged engines, those of earlier versions, and what killed processes left"
    )
    prune.add_argument("--unused-days", type=_days, metavar="N", help="and those not used for so long")
    prune.add_argument("--all", action="store_true", help="and all others")
    prune.set_defaults(command=_prune)
    for command in (build, listing, verify, prune):
        command.add_argument("--store", type=folder, metavar="FOLDER", help="as engine.store")
    build.add_argument("--shared-store", type=given, metavar="URL", help="as engine.shared_store")
    build.add_argument(
        "--storage",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the shared store, as storage.KEY of the runs: options.s3.endpoint_url=...; may be repeated",
    )
    for command in (build, verify):
        command.add_argument(
            *("--weights", "-w"),
            action="append",
            default=[],
            metavar="MODEL=WHERE",
            help="a model's checkpoint, as weights.MODEL; may be repeated",
        )
    for command in (export, build, verify):
        add_models_option(command)
    return parser


def _gib(text: str) -> float:
    from birefnet_batch.settings.checks import LEAST_GIB, MOST_GIB

    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not LEAST_GIB <= number <= MOST_GIB:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {LEAST_GIB} to {MOST_GIB}")
    return number


def _days(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days; give 0 or more")
    return number


def _pairs(words: list[str], models: Catalogue) -> dict[str, str]:
    """Where checkpoints are, by the models' short names."""
    from birefnet_batch.engines.sizes import parse_model

    wrong = [word for word in words if "=" not in word]
    if wrong:
        raise ConfigError(f"--weights {wrong[0]} names no model; give --weights MODEL=WHERE")
    pairs = (word.partition("=") for word in words)
    return {parse_model(name, models).short_name: where for name, _, where in pairs}


def _readable_store(arguments: argparse.Namespace) -> EngineStore:
    from birefnet_batch.engines.store_names import check_readable

    store = _store(arguments)
    check_readable(store.root, named=arguments.store is not None)
    return store


def _store(arguments: argparse.Namespace) -> EngineStore:
    from birefnet_batch.engines.shared_store import SharedStore
    from birefnet_batch.engines.store import EngineStore, default_root
    from birefnet_batch.storage_words import storage_from_words

    # At once, rather than for each row: none of what is done here can do without.
    root = arguments.store or default_root()
    shared = getattr(arguments, "shared_store", None)
    if shared is None:
        if getattr(arguments, "storage", None):
            raise ConfigError("--storage is of the shared store; give --shared-store URL beside it, or leave it out")
        return EngineStore(root)
    storage = storage_from_words([f"storage.{word.removeprefix('storage.')}" for word in arguments.storage])
    return EngineStore(root, SharedStore(shared, storage))


def _build(arguments: argparse.Namespace) -> int:
    from birefnet_batch.engines.build_command import build
    from birefnet_batch.engines.sizes import parse_model

    models = read_models(arguments.catalogue)
    built = build(
        _store(arguments),
        arguments.matrix,
        models,
        [parse_model(name, models).short_name for name in arguments.models],
        arguments.engine,
        _pairs(arguments.weights, models),
        tuple(arguments.compute_capability),
        None if arguments.workspace_gib is None else int(arguments.workspace_gib * 2**30),
    )
    return OK if built else FAILED


def _list(arguments: argparse.Namespace) -> int:
    from birefnet_batch.engines.store_command import list_engines

    list_engines(_readable_store(arguments))
    return OK


def _verify(arguments: argparse.Namespace) -> int:
    from birefnet_batch.engines.store_command import verify

    models = read_models(arguments.catalogue)
    right = verify(_readable_store(arguments), _pairs(arguments.weights, models), models)
    return OK if right else FAILED


def _prune(arguments: argparse.Namespace) -> int:
    from birefnet_batch.engines.store_command import prune

    prune(_readable_store(arguments), arguments.unused_days, arguments.all)
    return OK


def _export(arguments: argparse.Namespace) -> int:
    from birefnet_batch.engines.export_command import export
    from birefnet_batch.engines.sizes import parse_model

    export(
        model=parse_model(arguments.model, read_models(arguments.catalogue)),
        resolution=arguments.resolution,
        precision=arguments.precision,
        form=arguments.deform_conv,
        output=arguments.output,
        weights=arguments.weights,
        check=not arguments.no_check,
    )
    return OK


if __name__ == "__main__":
    main()
