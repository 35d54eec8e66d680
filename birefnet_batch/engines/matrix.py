"""engines/matrix.yaml: which engines to build ahead."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from birefnet_batch.engines.onnx_session import PROVIDERS
from birefnet_batch.engines.plan_limits import USUAL_BATCH, usual_batch
from birefnet_batch.engines.required import PRECISIONS
from birefnet_batch.engines.sizes import parse_model, parse_resolution
from birefnet_batch.errors import BirefnetBatchError, ConfigError, ProblemsError
from birefnet_batch.models.registry import SHIPPED, Catalogue, ModelSpec
from birefnet_batch.yaml_file import read_yaml

_ENGINES = ("onnxruntime", "tensorrt")
_OF_THE_OTHER = {"onnxruntime": ("batch_size", "tensorrt"), "tensorrt": ("provider", "onnxruntime")}


@dataclass(frozen=True)
class Row:
    """One engine to build."""

    model: ModelSpec
    width: int
    height: int
    engine: str
    precision: str
    provider: str
    batch_size: int

    def __str__(self) -> str:
        return f"{self.engine} {self.model.short_name} {self.width}x{self.height} {self.precision}"


def default_matrix() -> Path:
    """The shipped matrix: package data of a wheel, or the checkout's."""
    spec = find_spec("birefnet_batch.engine_matrix")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "matrix.yaml"
    return Path(__file__).resolve().parent.parent.parent / "engines" / "matrix.yaml"


def read_matrix(path: Path, models: Catalogue = SHIPPED) -> list[Row]:
    """The rows of a matrix file, which may name these models.

    Raises:
        ConfigError: it cannot be read.
        ProblemsError: rows that are none, all of them at once.
    """
    content = read_yaml(path, "the matrix")
    if not isinstance(content, list):
        raise ConfigError(f"the matrix {path} is no list of rows; see {default_matrix()}")
    rows, problems = [], []
    for number, entry in enumerate(content, 1):
        try:
            rows.append(_row(entry, models))
        except BirefnetBatchError as error:
            problems.append(f"row {number}: {error}")
    if problems:
        raise ProblemsError(f"the matrix {path} has problems", problems)
    return rows


def _row(entry: Any, models: Catalogue) -> Row:
    known = ("resolution", *(item.name for item in fields(Row) if item.name not in ("width", "height")))
    if not isinstance(entry, dict) or (unknown := [key for key in entry if key not in known]):
        what = f"{', '.join(map(str, unknown))} is unknown" if isinstance(entry, dict) else "it is no mapping"
        raise ConfigError(f"{what}; a row has {', '.join(known)}")
    missing = [key for key in ("model", "resolution", "engine") if key not in entry]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} is missing")
    engine = _one_of("engine", entry["engine"], _ENGINES)
    model = parse_model(str(entry["model"]), models)
    width, height = parse_resolution(str(entry["resolution"]), model)
    foreign, owner = _OF_THE_OTHER[engine]
    if foreign in entry:
        raise ConfigError(f"{foreign} is of {owner} and means nothing with engine {engine}; leave it out")
    usual = usual_batch(model, (width, height)) if engine == "tensorrt" else USUAL_BATCH
    batch = entry.get("batch_size", usual)
    # YAML's true is a number to Python.
    if type(batch) is not int or batch < 1:
        raise ConfigError(f"batch_size is {batch!r}; it must be a whole number of at least 1")
    return Row(
        model=model,
        width=width,
        height=height,
        engine=engine,
        precision=_one_of("precision", entry.get("precision", "fp16" if engine == "tensorrt" else "fp32"), PRECISIONS),
        provider=_one_of("provider", entry.get("provider", "cpu"), tuple(PROVIDERS)),
        batch_size=batch,
    )


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; it must be {' or '.join(allowed)}")
    return str(value)
