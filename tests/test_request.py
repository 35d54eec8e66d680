"""The request: the API's fields, values and defaults, and every problem at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from birefnet_batch import Request, RequestError, Result, VideoFile
from birefnet_batch.schemas import request_schema, result_schema

API_CALL: dict[str, Any] = {
    "model": "General Use (Heavy)",
    "operating_resolution": "2048x2048",
    "output_mask": True,
    "refine_foreground": False,
    "sync_mode": True,
    "video_url": "https://example.com/clip.mp4",
    "video_output_type": "VP9 (.webm)",
    "video_quality": "maximum",
    "video_write_mode": "small",
}
FILE = VideoFile("video/mp4", 1.0, "a.mp4", 25.0, 36, 25, "file:///a.mp4", 64, 1000)


def test_arguments_of_an_api_call_come_through_unchanged() -> None:
    assert Request.from_dict(API_CALL).to_dict() == API_CALL


def test_a_path_of_python_is_a_path() -> None:
    assert Request(Path("a b/clip.mp4")).video_url == "a b/clip.mp4"  # type: ignore[arg-type]
    assert Request("a.mp4").of(Path("clip.mp4")).video_url == "clip.mp4"


def test_fields_left_out_take_the_defaults_of_the_api() -> None:
    assert Request.from_dict({"video_url": "a.mp4"}).to_dict() == {
        "video_url": "a.mp4",
        "model": "General Use (Light)",
        "operating_resolution": "1024x1024",
        "output_mask": False,
        "refine_foreground": True,
        "sync_mode": False,
        "video_output_type": "X264 (.mp4)",
        "video_quality": "high",
        "video_write_mode": "balanced",
    }


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ({"model": "light_2k"}, {"model": "General Use (Light 2K)"}),
        ({"model": "PORTRAIT"}, {"model": "Portrait"}),
        ({"video_output_type": "prores4444"}, {"video_output_type": "PRORES4444 (.mov)"}),
        ({"operating_resolution": "1024"}, {"operating_resolution": "1024x1024"}),
        ({"operating_resolution": 2048}, {"operating_resolution": "2048x2048"}),
        ({"output_mask": "True"}, {"output_mask": True}),
    ],
)
def test_short_names_become_the_spelling_of_the_api(short: dict[str, Any], full: dict[str, Any]) -> None:
    request = Request(video_url="a.mp4", **short)
    assert request.to_dict() == Request.from_dict({"video_url": "a.mp4", **full}).to_dict()
    assert full.items() <= request.to_dict().items()


def test_demo_runs_at_512_unless_given() -> None:
    assert Request("a.mp4", model="demo").size == (512, 512)  # type: ignore[arg-type]
    assert Request("a.mp4", model="Demo", operating_resolution="640x384").size == (640, 384)


RESOLUTIONS = [
    ("General Use (Light)", "1024x1024", True),
    ("General Use (Light)", "2304x2304", False),
    ("General Use (Light)", "2560x1440", False),
    ("General Use (Light 2K)", "2560x1440", True),
    ("General Use (Light 2K)", "1440x2560", False),
    ("General Use (Dynamic)", "2304x2304", True),
    ("General Use (Dynamic)", "256x2304", True),
    ("General Use (Dynamic)", "224x256", False),
    ("General Use (Dynamic)", "2336x2304", False),
    ("General Use (Dynamic)", "1000x1024", False),
    ("Demo", "512x288", True),
]


@pytest.mark.parametrize(("model", "resolution", "allowed"), RESOLUTIONS)
def test_each_model_takes_its_own_resolutions_and_the_schema_agrees(model: str, resolution: str, allowed: bool) -> None:
    arguments = {"video_url": "a.mp4", "model": model, "operating_resolution": resolution}
    validator = jsonschema.Draft202012Validator(request_schema())
    assert validator.is_valid(arguments) is allowed
    if allowed:
        assert Request.from_dict(arguments).operating_resolution == resolution
    else:
        with pytest.raises(RequestError, match=rf"{resolution}.*{model.split()[0]}"):
            Request.from_dict(arguments)


def test_all_problems_are_reported_at_once_with_what_is_allowed() -> None:
    with pytest.raises(RequestError) as caught:
        Request.from_dict(
            {
                "model": "Portrait",
                "operating_resolution": "2304x2304",
                "output_mask": 3,
                "video_quality": "best",
                "colour": "red",
            }
        )
    problems = caught.value.problems
    assert len(problems) == 5
    text = "\n".join(problems)
    for expected in ("'colour' is no field", "video_url: it is required", "3 is not allowed; give true or false"):
        assert expected in text
    assert "'best' is not allowed; give one of 'low', 'medium', 'high', 'maximum'" in text
    assert "2304x2304 goes with General Use (Dynamic) and Demo only" in text


@pytest.mark.parametrize(
    ("field", "value", "several"),
    [
        ("model", "demo,light", True),
        ("model", "General Use (Light), demo", True),
        ("model", "demo,cat", False),
        ("model", "demo,", False),
        ("model", " General Use (Light)", False),
        ("video_output_type", "x264,GIF (.gif)", True),
        ("video_quality", "low,high", True),
        ("video_write_mode", "quick", False),
    ],
)
def test_of_a_list_of_allowed_values_it_is_said_what_several_need(field: str, value: str, several: bool) -> None:
    with pytest.raises(RequestError, match="is not allowed; give one of") as caught:
        Request.from_dict({"video_url": "a.mp4", field: value})
    assert ("several values, for a run with each, need -m on a command line" in str(caught.value)) == several


def test_construction_validates_like_from_dict() -> None:
    with pytest.raises(RequestError, match="'best' is not allowed"):
        Request("a.mp4", video_quality="best")  # type: ignore[arg-type]


def test_the_same_request_of_another_video_is_as_if_it_were_written_out() -> None:
    given = {"model": "heavy", "output_mask": True, "operating_resolution": "1024"}
    first = Request.from_dict({"video_url": "a.mp4", **given})
    assert first.of(" b.mp4 ") == Request.from_dict({"video_url": "b.mp4", **given})
    assert first.video_url == "a.mp4"
    with pytest.raises(RequestError, match="video_url: it is required"):
        first.of(None)


def test_errors_show_no_credentials() -> None:
    with pytest.raises(RequestError) as caught:
        Request.from_dict({"video_url": "https://me:pass@host/a.mp4?X-Amz-Signature=abc", "model": "x"})
    assert "https://host/a.mp4" in str(caught.value)
    assert "pass" not in str(caught.value)
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "http://user:very-secret@host/a-long-name-of-more-than-eighty-letters-with-parameters?token=very-secret",
        ["http://user:very-secret@host/x.mp4?token=very-secret"],
        "data:video/mp4,very-secret and 'very-secret'",
        {"data:video/mp4;base64,very+secret": 1},
    ],
)
def test_what_a_message_repeats_has_no_secrets_wherever_it_stands(value: Any) -> None:
    for field in ("model", "output_mask", "operating_resolution"):
        with pytest.raises(RequestError) as caught:
            Request.from_dict({"video_url": "a.mp4", field: value})
        assert "secret" not in str(caught.value)
    with pytest.raises(RequestError) as caught:
        Request.from_dict({"video_url": "a.mp4", str(value): 1})
    assert "very-secret" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_result_has_no_mask_unless_it_was_asked_for() -> None:
    assert set(Result(FILE).to_dict()) == {"video"}
    assert Result.from_dict(Result(FILE, FILE).to_dict()) == Result(FILE, FILE)
    for result in (Result(FILE), Result(FILE, FILE)):
        jsonschema.validate(result.to_dict(), result_schema())
    assert set(Result(FILE).to_dict()["video"]) == {
        "content_type",
        "duration",
        "file_name",
        "fps",
        "height",
        "num_frames",
        "url",
        "width",
        "file_size",
    }


def test_schemas_in_the_docs_are_those_of_the_code(tmp_path: Path) -> None:
    from birefnet_batch.schemas import write_schemas

    write_schemas(tmp_path)
    kept = Path(__file__).parent.parent / "docs" / "schemas"
    assert {made.name for made in tmp_path.iterdir()} == {file.name for file in kept.iterdir()}
    for made in sorted(tmp_path.iterdir()):
        assert json.loads(made.read_text()) == json.loads((kept / made.name).read_text()), (
            f"docs/schemas/{made.name} is stale: python -m birefnet_batch.schemas docs/schemas"
        )


def test_what_is_no_mapping_is_refused_with_the_fields() -> None:
    with pytest.raises(RequestError, match=r"\[1\] is no mapping of fields; the fields are video_url, model"):
        Request.from_dict([1])  # type: ignore[arg-type]


def test_a_resolution_of_no_model_is_reported_beside_a_wrong_model() -> None:
    with pytest.raises(RequestError) as error:
        Request.from_dict({"video_url": "a", "model": "z", "operating_resolution": "300x300"})
    assert len(error.value.problems) == 2
    assert "'300x300' is allowed with no model" in str(error.value)
