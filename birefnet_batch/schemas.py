"""JSON Schemas of the request, the result and the job record, generated from the code.

python -m birefnet_batch.schemas FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from birefnet_batch.models.registry import SHIPPED, Catalogue
from birefnet_batch.models.spec import FREE_SIDES
from birefnet_batch.request import Request
from birefnet_batch.result import Result
from birefnet_batch.results import JobRecord, pretty_json

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def request_schema(models: Catalogue = SHIPPED) -> dict[str, Any]:
    """The schema of a request in the API's spelling; the short names of a command line are not in it.

    Args:
        models: those that a request may name; `Settings.catalogue` has a user's own too.
    """
    schema = _schema(Request, "Request")
    schema["additionalProperties"] = False
    schema["properties"]["video_url"]["minLength"] = 1
    schema["properties"]["model"]["enum"] = list(models.names)
    # Its default depends on the model, so none is stated.
    del schema["properties"]["operating_resolution"]["default"]
    rules: dict[tuple[str, ...] | None, list[str]] = {}
    for spec in models:
        rules.setdefault(spec.resolutions, []).append(spec.name)
    # A request that names no model means the first one, so that its rule is the one for all that no other is for.
    usual = models.models[0].resolutions
    others = {allowed: names for allowed, names in rules.items() if allowed != usual}
    schema["allOf"] = [
        *({"if": _model_is(names), "then": _resolution_is(allowed)} for allowed, names in others.items()),
        {"if": _model_is([name for names in others.values() for name in names]), "else": _resolution_is(usual)},
    ]
    return schema


def result_schema() -> dict[str, Any]:
    """The schema of result.json: the API's output."""
    schema = _schema(Result, "Result")
    # Absent, never null, when it was not asked for.
    mask = schema["properties"]["mask_video"]
    del mask["anyOf"], mask["default"]
    mask["$ref"] = "#/$defs/VideoFile"
    return schema


def job_schema() -> dict[str, Any]:
    """The schema of job.json."""
    return _schema(JobRecord, "JobRecord")


def _model_is(names: list[str]) -> dict[str, Any]:
    return {"properties": {"model": {"enum": names}}, "required": ["model"]}


def _resolution_is(allowed: tuple[str, ...] | None) -> dict[str, Any]:
    sides = "|".join(map(str, FREE_SIDES))
    rule = {"pattern": f"^({sides})x({sides})$"} if allowed is None else {"enum": list(allowed)}
    return {"properties": {"operating_resolution": rule}}


def _schema(cls: type, title: str) -> dict[str, Any]:
    schema = TypeAdapter(cls).json_schema()
    schema.pop("description", None)
    return {"$schema": _DIALECT, **schema, "title": title}


def write_schemas(folder: Path) -> None:
    """Write the three files that the docs keep."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in (("request", request_schema()), ("result", result_schema()), ("job", job_schema())):
        (folder / f"{name}.schema.json").write_bytes(pretty_json(schema))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m birefnet_batch.schemas FOLDER")
    write_schemas(Path(sys.argv[1]))
