"""URLs in files and logs are shown without their secrets."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from birefnet_batch.url_redaction import redact, redact_text, redact_value


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://me:secret@host:81/a.mp4", "https://host:81/a.mp4"),
        ("https://h/a?id=3&X-Amz-Signature=s&X-Amz-Credential=c", "https://h/a?id=3"),
        ("https://h/a?sv=1&sr=b&sig=s&name=x", "https://h/a?name=x"),
        ("https://h/a?sv=1", "https://h/a?sv=1"),
        ("https://h/a?access_token=t&API-Key=k&v=2#frag", "https://h/a?v=2"),
        ("https://h/a?Expires=1&Signature=s&Key-Pair-Id=k", "https://h/a"),
        ("https://h/a?pass=1&passwd=1&pw=1&pwd=1&bearer=1&sas=1&auth=1&user_pw=1&otp=1&v=2", "https://h/a?v=2"),
        ("https://h/a?code=dGhpcyBpcyBhIGtleQ==&compass=n", "https://h/a?code=sha256-d04f31a4911f&compass=n"),
        ("https://h/a?code=de&country_code=fr", "https://h/a?code=de&country_code=fr"),
        ("https://h/a?hdnts=exp=1~acl=/*~hmac=ab12&x=1", "https://h/a?x=1"),
        ("https://h/a?st=exp=1~hmac=ab12&x=1", "https://h/a?st=sha256-991ef38ed690&x=1"),
        ("https://h/a?private_key=k&rlkey=r&PHPSESSID=p&session_key=k&x=1", "https://h/a?x=1"),
        (
            "https://h/a?key=anna.mp4&session=7&x=1",
            "https://h/a?key=sha256-feea33c2c07f&session=sha256-7902699be42c&x=1",
        ),
        ("https://h/a?key=sha256-0123456789ab&x=1", "https://h/a?key=sha256-0123456789ab&x=1"),
        ("https://h/a;jsessionid=ab12/b;page=2?x=1;token=t", "https://h/a/b;page=2?x=1"),
        ("https://h/a?passphrase=p&psk=p&csrf=c&x=1", "https://h/a?x=1"),
        ("https://h/a?h=1080&x=1", "https://h/a?h=1080&x=1"),
        ("https://h/a?h=ab12cd34ef&x=1", "https://h/a?h=sha256-15e345b9ced6&x=1"),
        ("https://h/eyJhbGciOiJI.eyJzdWIi.abc-_/a.mp4", "https://h/sha256-417591bd0579/a.mp4"),
        ("https://h/a;sid=ab12/b", "https://h/a;sid=sha256-59d937723564/b"),
        ("file://me:secret@host/a.mp4", "file://host/a.mp4"),
        ("https://h/a?u=https://me:secret@i/b?sig=s", "https://h/a?u=https%3A%2F%2Fi%2Fb"),
        (
            "https://h/a?x=9fB2kLm0QrStUvWx7YzA&y=0123456789abcdef01234567",
            "https://h/a?x=sha256-76c46d22e35b&y=sha256-8865fea8edb6",
        ),
        (
            "https://h/a?id=507f1f77bcf86cd799439011&file=A-long-name-of-2024&title=two-words-of-2024-here",
            "https://h/a?id=507f1f77bcf86cd799439011&file=A-long-name-of-2024&title=two-words-of-2024-here",
        ),
        ("https://h/a?t=123e4567-e89b-12d3-a456-426614174000", "https://h/a?t=123e4567-e89b-12d3-a456-426614174000"),
        ("data:video/mp4;base64,AAAA", "data:video/mp4;sha256=054f0d4d0960135a,..."),
        ("data:video/mp4,%00AAAA", "data:video/mp4;sha256=4a36729c98cc790c,..."),
        ("data:SECRET", "data:;sha256=1b599724640c6ac0,..."),
        ("s3://bucket/a?b#c.mp4", "s3://bucket/a?b#c.mp4"),
        ("az://me:secret@container/a.mp4", "az://container/a.mp4"),
        ("file:///a/b.mp4", "file:///a/b.mp4"),
    ],
)
def test_credentials_and_signatures_are_not_shown(uri: str, shown: str) -> None:
    assert redact(uri) == shown


@pytest.mark.parametrize(
    "name",
    "key user username login session session_id sess sid sign ak q-ak cred mac tk author video_author code".split(),
)
def test_two_videos_that_differ_in_what_may_be_their_name_or_owner_do_not_look_alike(name: str) -> None:
    shown = [redact(f"https://h/get.mp4?{name}=the-long-name-of-{who}") for who in ("anna", "ben")]
    assert shown[0] != shown[1]
    assert not [text for text in shown if "anna" in text or "ben" in text]
    assert [redact(text) for text in shown] == shown


def test_urls_in_parameters_of_urls_in_parameters_of_urls_have_an_end() -> None:
    url = "https://h/a"
    for _ in range(12):
        url = f"https://me:secret@h/a?u={quote(url, safe='')}"
    assert "secret" not in redact(url)
    assert "secret" not in redact("https://me:secret@h/a?x=" * 1000)


def test_urls_inside_messages_are_redacted() -> None:
    assert redact_text("cannot get 'https://u:p@h/x?sig=1'") == "cannot get 'https://h/x'"


@pytest.mark.parametrize(
    "uri", ["data:video/mp4;base64,SECRET==", "data:video/mp4,%00SECRET", "data:,SECRET", "DATA:a/b;x=1,SECRET~(1)!*2"]
)
def test_data_uris_inside_messages_are_named_by_the_digest_that_they_have_alone(uri: str) -> None:
    for text in ("{}", "'{}' is wrong", "video_url={}: no", '[1, "{}"]', "({}), {}."):
        assert redact_text(text.format(uri, uri)) == text.format(redact(uri), redact(uri))
    assert redact_text(redact_text(f"see {uri}: no")) == redact_text(f"see {uri}: no")


@pytest.mark.parametrize("text", ["file:///x/data:1,a.mp4", "clips/data:text/x,a.mp4", "the data: a, b", "metadata:,x"])
def test_what_is_no_data_uri_stays(text: str) -> None:
    assert redact_text(text) == text


def test_a_text_that_is_a_url_as_a_whole_has_no_secret_behind_a_space_or_a_quote() -> None:
    assert redact_value(' data:text/plain,it\'s "SECRET" ') == redact('data:text/plain,it\'s "SECRET"')
    assert redact_value("https://h/a b.mp4?token=x SECRET") == "https://h/a b.mp4"
    assert redact_value("cannot get https://h/x?sig=1 now") == "cannot get https://h/x now"
