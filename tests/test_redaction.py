"""Nothing secret stays in what a run writes about itself."""

from __future__ import annotations

import pytest

from birefnet_batch.redaction import Redactor, secret_variables, shown_options
from birefnet_batch.url_redaction import redact

OPTIONS = {
    "s3": {
        "key": "AKIAEXAMPLE",
        "secret": "hunter2hunter2",
        "endpoint_url": "http://me:pass@host:9000",
        "client_kwargs": {"region_name": "eu", "aws_session_token": "tok"},
        "use_ssl": False,
    },
    "az": {"connection_string": "AccountName=me;AccountKey=abc=="},
}


def test_options_are_kept_when_they_are_known_to_be_harmless_and_hidden_otherwise() -> None:
    assert shown_options(OPTIONS) == {
        "s3": {
            "key": "***",
            "secret": "***",
            "endpoint_url": "http://host:9000",
            "client_kwargs": {"region_name": "eu", "aws_session_token": "***"},
            "use_ssl": False,
        },
        "az": {"connection_string": "***"},
    }


def test_a_reference_to_the_environment_is_kept_and_one_with_a_default_is_not() -> None:
    assert shown_options({"s3": {"secret": "${oc.env:MY_SECRET}"}}) == {"s3": {"secret": "${oc.env:MY_SECRET}"}}
    assert shown_options({"s3": {"secret": "${oc.env:MY_SECRET,abc}"}}) == {"s3": {"secret": "***"}}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("storage.options.s3.secret=x", "storage.options.s3.secret=***"),
        ("+storage.options.s3={key: a, secret: b}", "+storage.options.s3=***"),
        ("storage.options.az.sas_token='sv=1,sig=a,b'", "storage.options.az.sas_token=***"),
        ("storage.options.s3.secret=${oc.env:S}", "storage.options.s3.secret=${oc.env:S}"),
        ("storage.options.s3.endpoint_url=http://a:b@h", "storage.options.s3.endpoint_url=http://h"),
        (
            "a=1,storage.options.s3.endpoint_url=http://h,storage.options.s3.secret=x,output=y",
            "a=1,storage.options.s3.endpoint_url=http://h,storage.options.s3.secret=***",
        ),
        ("- 'storage.options.s3.key=k'", "- 'storage.options.s3.key=***'"),
        ("- storage.options.s3.key=k\n- output=out", "- storage.options.s3.key=***\n- output=out"),
        ("the message has hunter2hunter2 in it", "the message has *** in it"),
    ],
)
def test_command_lines_and_texts_lose_their_secrets(text: str, shown: str) -> None:
    assert Redactor(OPTIONS).text(text) == shown


@pytest.mark.parametrize("uri", ["data:video/mp4;base64,SECRET=", "data:video/mp4,%00SECRET", "data:,it's SECRET, x=y"])
@pytest.mark.parametrize("word", ["request.video_url={}", "+request.video_url='{}'", 'request.video_url="{}"', "{}"])
def test_a_data_uri_is_hidden_in_a_word_of_a_command_line_whatever_letters_it_holds(word: str, uri: str) -> None:
    redactor = Redactor({})
    assert redactor.words([word.format(uri)]) == [word.format(redact(uri))]
    assert redactor.value({"task": [word.format(uri)]}) == {"task": [word.format(redact(uri))]}
    setting = word.format(uri) if "=" in word else f"x={word.format(uri)}"
    assert "SECRET" not in str(redactor.value({"override_dirname": f"output=o,{setting},resume=auto"}))


def test_a_key_that_is_a_url_loses_its_secrets_too() -> None:
    assert Redactor({}).value({"http://u:p@h/x": 1, "data:,SECRET": 2}) == {"http://h/x": 1, redact("data:,SECRET"): 2}


def test_settings_lose_secrets_by_name_and_by_value() -> None:
    value = {"storage": {"options": OPTIONS}, "output": "x?hunter2hunter2", "list": ["AKIAEXAMPLE"]}
    assert "hunter2" not in str(Redactor(OPTIONS).value(value))
    assert Redactor(OPTIONS).value(value)["list"] == ["***"]


@pytest.mark.parametrize("secret", ["hunter22", "pa\"s's1", "@it's1 x", "{a: b, c", "one\nKEY=two", "x " * 60, "pin"])
def test_secrets_that_rays_workers_are_given_are_hidden_by_name_whatever_letters_they_have(secret: str) -> None:
    variables = {"AWS_SECRET_ACCESS_KEY": secret, "HF_HOME": "/mnt/weights", "MY_SAS": "${oc.env:MY_SAS}"}
    shown = {**variables, "AWS_SECRET_ACCESS_KEY": "***"}
    for redactor in (Redactor({}), Redactor(secret_variables({"env_vars": variables}))):
        assert redactor.value({"runtime_env": {"env_vars": variables}}) == {"runtime_env": {"env_vars": shown}}
        assert redactor.value({"job": {"env_set": variables}}) == {"job": {"env_set": shown}}


def test_a_secret_variable_is_hidden_by_its_value_where_it_stands_without_its_name() -> None:
    redactor = Redactor(
        secret_variables({"env_vars": {"AWS_SECRET_ACCESS_KEY": "hunter22", "HF_HOME": "/mnt/weights"}})
    )
    assert redactor.text("output: hunter22, /mnt/weights") == "output: ***, /mnt/weights"


@pytest.mark.parametrize(
    "place", ["+executor.runtime_env.env_vars", "executor.runtime_env.env_vars", "+hydra.job.env_set"]
)
@pytest.mark.parametrize("value", ["x", "'it''s, x=1 y'", '"pa\\"s\'s1"', "a,b", "one\ntwo\nthree"])
def test_a_word_that_gives_a_secret_variable_loses_its_value(place: str, value: str) -> None:
    word, redactor = f"{place}.DB_PASSWORD={value}", Redactor({})
    assert redactor.words([word, f"{place}.HF_HOME=/a"]) == [f"{place}.DB_PASSWORD=***", f"{place}.HF_HOME=/a"]
    listed = f"{place}.HF_HOME=/a,{word},{place}.LEVEL=3"
    assert redactor.words([listed]) == [f"{place}.HF_HOME=/a,{place}.DB_PASSWORD=***,{place}.LEVEL=3"]


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("executor.runtime_env={env_vars:{HF_TOKEN:x}}", "executor.runtime_env=***"),
        ("+executor.runtime_env.env_vars={A: b, 'HF_TOKEN': x}", "+executor.runtime_env.env_vars=***"),
        ("executor.runtime_env={pip:[tokenizers],env_vars:{A:b}}", None),
        ("executor.runtime_env.env_vars.HF_TOKEN=${oc.env:HF_TOKEN}", None),
        ("storage={options:{s3:{key:x}}}", "storage=***"),
        ("storage={timeout_s:3}", None),
        ("+executor.resources={a_key:1}", None),
        ("executor=ray", None),
    ],
)
def test_words_that_give_several_settings_are_hidden_where_one_is_secret(word: str, shown: str | None) -> None:
    assert Redactor({}).words([word]) == [word if shown is None else shown]


@pytest.mark.parametrize("value", ["anon", "google_default", "false", "cloud"])
def test_harmless_values_of_secret_names_are_hidden_there_and_nowhere_else(value: str) -> None:
    variables = {"TOKENIZERS_PARALLELISM": value}
    redactor = Redactor({"gs": {"token": value}, **secret_variables({"env_vars": variables})})
    kept = {"weights_folder": f"/data/{value}ical", "output_mask": value}
    options = {"gs": {"token": value}}
    assert redactor.value({**kept, "options": options}) == {**kept, "options": {"gs": {"token": "***"}}}
    words = [f"request.output_mask={value}", f"storage.options.gs.token={value}"]
    assert redactor.words(words) == [words[0], "storage.options.gs.token=***"]
    assert redactor.text(f"output_mask: {value}\n") == f"output_mask: {value}\n"
