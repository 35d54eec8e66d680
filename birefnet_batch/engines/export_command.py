"""`birefnet-batch-engines export`."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from birefnet_batch.engines.artifact import DeformableForm
from birefnet_batch.engines.onnx_session import OPENVINO_PACKAGE, installed_packages, require_provider
from birefnet_batch.engines.sizes import parse_resolution
from birefnet_batch.errors import EngineError, OutputError
from birefnet_batch.models.registry import ModelSpec
from birefnet_batch.models.weights import locate_weights, option_of
from birefnet_batch.refusals import refusal, system_reason

_CHECKED_TOGETHER = 1024 * 1024


def export(
    *,
    model: ModelSpec,
    resolution: str,
    precision: str,
    form: DeformableForm,
    output: Path | None,
    weights: str | None,
    check: bool,
) -> Path:
    """Write a model as an ONNX file and say what came of it; the file has its name only after it was checked.

    Raises:
        ConfigError: the model does not run at this resolution.
        EngineError: the file cannot be made or compared, or differs from torch.
        OutputError: it cannot be written.
        WeightsError: the checkpoint is missing or does not fit.
    """
    width, height = parse_resolution(resolution, model)
    from birefnet_batch.engines.onnx_export.export import require_onnx, write_onnx

    require_onnx()
    if check:
        _require_checkable(precision, form)
    checkpoint = locate_weights(model, weights, given_by=option_of(model, named=False))
    target = output or Path(f"{model.short_name}-{width}x{height}-{precision}-{form}.onnx")
    if reason := refusal(target):
        raise _unwritable(target, reason)
    if target.is_dir():
        raise OutputError(f"--output {target} is a folder; give the name of a file, such as {target / 'model.onnx'}")
    if not target.absolute().parent.is_dir():
        raise OutputError(f"--output {target} has no folder {target.parent} to be in; make it, or give another")
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    started = time.perf_counter()
    try:
        facts = write_onnx(partial, model, checkpoint, width, height, precision, form)
        seconds = time.perf_counter() - started
        print(f"{facts['nodes']} nodes, {partial.stat().st_size / 1e6:.1f} MB, written in {seconds:.1f} s")
        if check:
            from birefnet_batch.engines.onnx_export.check import checked

            batch = 2 if width * height <= _CHECKED_TOGETHER else 1
            started = time.perf_counter()
            found = checked(partial, model, checkpoint, (width, height), precision, batch, form)
            seconds = time.perf_counter() - started
            print(f"against torch in fp32, batch {batch}: {found} ({seconds:.1f} s)")
        partial.replace(target)
    except OSError as error:
        raise _unwritable(target, system_reason(error)) from None
    finally:
        # A name that is too long to be written is too long to be removed.
        with suppress(OSError):
            partial.unlink()
    print(target)
    return target


def _require_checkable(precision: str, form: DeformableForm) -> None:
    # Of neither is there a comparison.
    if precision == "bf16" or find_spec("onnxruntime") is None:
        return
    try:
        require_provider("cpu", form)
    except EngineError as error:
        other = "--deform-conv openvino or " if OPENVINO_PACKAGE in installed_packages() else ""
        raise EngineError(f"{error}; or give {other}--no-check") from None


def _unwritable(target: Path, reason: str) -> OutputError:
    return OutputError(f"{target} cannot be written: {reason}; choose another --output")
