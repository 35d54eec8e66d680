"""Quotes that Hydra wants and shells took away; sweeps as lists of jobs."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from birefnet_batch.command_line import own_words, quoted, sweep_jobs
from birefnet_batch.errors import ConfigError


@pytest.mark.parametrize(
    "value",
    [
        "https://h/a.mp4?X-Amz-Signature=ab=&b=c%20d",
        "clips/cut (1).mp4",
        "~/a.mp4",
        "a, b and c.mp4",
        "General Use (Light 2K)",
        "#00b140",
        'he said "hi".mp4',
        'back\\"slash.mp4',
        "ends (with) one\\",
        "ends with one\\",
        r"a\ b.mp4",
        r"a\\b.mp4",
        r"a\b.mp4",
        r"out\(1",
        r"out/\${x}",
        "two\nlines.mp4",
        "\r.mp4",
        "plain.mp4",
        "ünï.mp4",
        "résultats/日本/a b.mp4",
        "a{b}.mp4",
        "~nobody.mp4",
        "${now:%Y}/é",
        r"a\${x} é.mp4",
        "2026_11_28",
        "1.10",
        "007",
        "1e3",
        "true",
    ],
)
def test_a_text_reaches_hydra_as_it_was_typed(value: str) -> None:
    (word,) = quoted([f"request.video_url={value}"], sweep=False)
    (override,) = OverridesParser.create().parse_overrides([word])
    found = override.value()
    assert (found if isinstance(found, str) else found.text) == value


@pytest.mark.parametrize(
    "word",
    [
        "executor.scratch=2026_11_28",
        "executor.scratch=~/parts",
        "executor.scratch=/mnt/a(b)",
        "executor.address=[::1]:6379",
        "executor.runtime_env.env_vars.LEVEL=1.10",
        "+executor.runtime_env.env_vars.LEVEL=007",
        "storage.options.s3.key=123456",
        "storage.options.s3.secret=1_000",
        "storage.options.s3.client_kwargs.aws_session_token=1e5",
        "+storage.options.az.account_key=ab(c)==",
    ],
)
def test_paths_addresses_variables_and_credentials_reach_hydra_as_they_were_typed(word: str) -> None:
    (override,) = OverridesParser.create().parse_overrides(quoted([word], sweep=False))
    found = override.value()
    assert (found if isinstance(found, str) else found.text) == word.partition("=")[2]


@pytest.mark.parametrize(
    ("word", "sweep"),
    [
        ("storage.options.gs.token={type:service}", False),
        ('request.model="General Use (Light)"', False),
        ("request.video_url='a=b.mp4'", False),
        ("output=out/${request.model}", False),
        ("request.model=light,portrait", True),
        ("engine.threads=2", False),
        ("~weights.light", False),
        ("--config-dir", False),
    ],
)
def test_what_needs_no_quotes_gets_none(word: str, sweep: bool) -> None:
    assert quoted([word], sweep) == [word]


@pytest.mark.parametrize("word", ["experiment=nächte", "storage.options.s3.secret=ab/c+d=="])
def test_other_alphabets_and_equals_signs_need_no_quotes_in_any_setting(word: str) -> None:
    (override,) = OverridesParser.create().parse_overrides(quoted([word], sweep=False))
    found = override.value()
    assert getattr(found, "text", found) == word.partition("=")[2]


def test_a_sweep_takes_each_of_its_texts_as_it_was_typed() -> None:
    jobs = sweep_jobs(quoted(["request.video_url=ünï.mp4,b c.mp4,d=e.mp4", "output=o"], sweep=True))
    overrides = [OverridesParser.create().parse_overrides(job)[0].value() for job in jobs]
    assert [getattr(value, "text", value) for value in overrides] == ["ünï.mp4", "b c.mp4", "d=e.mp4"]


def test_names_of_digits_stay_names_in_a_sweep() -> None:
    jobs = sweep_jobs(quoted(["experiment=2026_11_29,night", "output=o"], sweep=True))
    overrides = [OverridesParser.create().parse_overrides(job)[0].value() for job in jobs]
    assert [getattr(value, "text", value) for value in overrides] == ["2026_11_29", "night"]


def test_a_sweep_is_every_combination_the_last_choice_first() -> None:
    words = ["--config-dir", "mine", "request.model=light,demo", "output=o", "engine.threads=1,2"]
    assert sweep_jobs(words) == [
        ["--config-dir", "mine", f"request.model={model}", "output=o", f"engine.threads={threads}"]
        for model in ("light", "demo")
        for threads in (1, 2)
    ]


def test_what_tells_the_jobs_of_a_sweep_apart_is_what_not_all_have() -> None:
    jobs = sweep_jobs(["media.background=black,white", "output=out", "engine.threads=1,2"])
    assert [" ".join(words) for words in own_words(jobs)] == [
        *("media.background=black engine.threads=1", "media.background=black engine.threads=2"),
        *("media.background=white engine.threads=1", "media.background=white engine.threads=2"),
    ]
    assert own_words([["output=out"]]) == [[]]


def test_a_sweep_that_cannot_be_read_is_named_without_its_secrets() -> None:
    with pytest.raises(ConfigError) as error:
        sweep_jobs(["request.video_url='http://h/a.mp4?token=topsecret"])
    assert "topsecret" not in str(error.value)


@pytest.mark.parametrize("word", ["engine.threads=interval(1,4)", "experiment=glob(*)"])
def test_a_sweep_over_what_is_no_list_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=r"is no list of values; give some, separated by commas"):
        sweep_jobs([word])
