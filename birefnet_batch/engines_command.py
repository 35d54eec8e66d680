"""`birefnet-batch-engines`: ONNX files, and the store of built engines."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from birefnet_batch.errors import BirefnetBatchError, ConfigError

OK, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


def main() -> None:
    """Run the program."""
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def run(words: list[str]) -> int:
    """Run one command; errors go to standard error.

    Returns:
        The exit status: 0, 1 when it failed, 2 for wrong use.
    """
    arguments = _parser().parse_args(words)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("birefnet_batch").setLevel(logging.INFO)
    try:
        status: int = arguments.command(arguments)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE
    except BirefnetBatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="birefnet-batch-engines", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    export = commands.add_parser("export", help="write a model at a resolution as one ONNX file")
    export.add_argument("model", metavar="MODEL", help="light, light_2k, heavy, matting, portrait, dynamic or demo")
    export.add_argument("resolution", metavar="RESOLUTION", help="WIDTHxHEIGHT, or one number for a square")
    export.add_argument("--precision", choices=("fp32", "fp16", "bf16"), default="fp32", help="default: fp32")
    export.add_argument(
        "--deform-conv",
        choices=("native", "gridsample"),
        default="native",
        help="native: DeformConv, for ONNX Runtime (default); gridsample: decomposed, for TensorRT and OpenVINO",
    )
    export.add_argument("--output", type=Path, metavar="FILE", help="default: MODEL-RESOLUTION-... in this folder")
    export.add_argument("--weights", metavar="WHERE", help="a safetensors file, a folder or a hub repository")
    export.add_argument("--no-check", action="store_true", help="do not compare the file with torch")
    export.set_defaults(command=_export)
    return parser


def _export(arguments: argparse.Namespace) -> int:
    from birefnet_batch.engines.export_command import export

    export(
        model=arguments.model,
        resolution=arguments.resolution,
        precision=arguments.precision,
        form=arguments.deform_conv,
        output=arguments.output,
        weights=arguments.weights,
        check=not arguments.no_check,
    )
    return OK
