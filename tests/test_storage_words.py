"""Settings of storage on the command lines of the small programs."""

from __future__ import annotations

import pytest

from birefnet_batch.errors import ConfigError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage_words import storage_from_words


def test_words_change_what_they_name_and_nothing_else() -> None:
    found = storage_from_words(
        ["storage.options.s3.key=k", "storage.options.s3.secret='a=b,c'", "storage.options.gs.project=p"]
    )
    assert found == StorageSettings(options={"s3": {"key": "k", "secret": "a=b,c"}, "gs": {"project": "p"}})


def test_credentials_and_paths_of_digits_are_texts_and_other_options_are_numbers() -> None:
    words = ["storage.options.s3.key=123456", "storage.options.s3.secret=1_000", "storage.options.s3.token=true"]
    found = storage_from_words([*words, "storage.options.s3.read_timeout=5", "storage.scratch=2026_11_29"])
    assert found.options == {"s3": {"key": "123456", "secret": "1_000", "token": "true", "read_timeout": 5}}
    assert found.scratch == "2026_11_29"


@pytest.mark.parametrize("secret", ["@abSECRET", "%abSECRET", "*abSECRET", "[abSECRET", '"abSECRET', "{a: abSECRET"])
def test_a_secret_that_is_no_yaml_is_one_clear_error_that_does_not_repeat_it(secret: str) -> None:
    with pytest.raises(ConfigError, match=r"the value of storage.options.s3.secret cannot be read; one with") as caught:
        storage_from_words(["storage.timeout_s=5", f"storage.options.s3.secret={secret}"])
    assert "SECRET" not in str(caught.value)
    quoted = secret.replace('"', '\\"')
    assert storage_from_words([f'storage.options.s3.secret="{quoted}"']).options == {"s3": {"secret": secret}}


@pytest.mark.parametrize("value", ["!!timestamp x", "!!bool maybe", "!!int ''", "!!int x"])
def test_a_value_that_does_not_fit_its_tag_is_said_to_be_unreadable(value: str) -> None:
    with pytest.raises(
        ConfigError, match=r"the value of storage.timeout_s cannot be read \(a value does not fit its tag"
    ):
        storage_from_words([f"storage.timeout_s={value}"])


@pytest.mark.parametrize("value", ["!!int SECRET", "!!timestamp SECRET", "!!bool SECRET", "!!set SECRET"])
def test_a_value_that_its_tag_refuses_is_one_clear_error(value: str) -> None:
    with pytest.raises(ConfigError, match=r"the value of storage.options.s3.secret cannot be read; one with") as caught:
        storage_from_words([f"storage.options.s3.secret={value}"])
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "word",
    [
        "s3://user:SECRET@b/x",
        "storage.options.s3.secret:SECRET",
        "storage.options.s3=SECRET",
        "storage.options.s3.secret=${SECRET}",
    ],
)
def test_a_secret_in_a_word_that_is_not_understood_is_not_repeated(word: str) -> None:
    with pytest.raises(ConfigError, match=r"storage\.") as caught:
        storage_from_words([word])
    assert "SECRET" not in str(caught.value)


def test_a_variable_that_is_not_set_is_named(monkeypatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigError, match=r"storage\.options\.s3\.key: Environment variable 'NOT_SET' not found$"):
        storage_from_words(["storage.options.s3.key=${oc.env:NOT_SET}"])


def test_a_word_that_is_no_setting_of_storage_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"storage\.KEY=VALUE"):
        storage_from_words(["output=x"])
    with pytest.raises(ConfigError, match="cannot be used"):
        storage_from_words(["storage.timeout=5"])
