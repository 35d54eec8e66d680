"""JSON Schemas of the request, the result and the job record, generated from the code.

python -m birefnet_batch.schemas FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from birefnet_batch import request as request_module
from birefnet_batch.request import Request, Result
from birefnet_batch.results import JobRecord, pretty_json

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def request_schema() -> dict[str, Any]:
    """The schema of a request in the API's spelling; the short names of a command line are not in it."""
    schema = _schema(Request, "Request")
    schema["additionalProperties"] = False
    schema["properties"]["video_url"]["minLength"] = 1
    resolution = schema["properties"]["operating_resolution"]
    # Its default depends on the model, so none is stated.
    del resolution["default"]
    api = list(request_module.API_RESOLUTIONS)
    sides = "|".join(str(side) for side in request_module.FREE_SIDES)
    free = {"pattern": f"^({sides})x({sides})$"}
    light_2k = {"enum": [*api, request_module.LIGHT_2K_NATIVE]}
    schema["allOf"] = [
        _when_model(list(request_module.FREE_MODELS), free),
        _when_model(["General Use (Light 2K)"], light_2k),
        {
            "if": {
                "properties": {"model": {"enum": [*request_module.FREE_MODELS, "General Use (Light 2K)"]}},
                "required": ["model"],
            },
            "else": {"properties": {"operating_resolution": {"enum": api}}},
        },
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


def _when_model(models: list[str], resolution: dict[str, Any]) -> dict[str, Any]:
    return {
        "if": {"properties": {"model": {"enum": models}}, "required": ["model"]},
        "then": {"properties": {"operating_resolution": resolution}},
    }


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
    write_schemas(Path(sys.argv[1] if len(sys.argv) == 2 else "docs/schemas"))
