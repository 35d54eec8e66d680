"""Canonical URIs, and nothing secret in what is shown."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from birefnet_batch.errors import BirefnetBatchError, InputError
from birefnet_batch.manifest import load_manifest
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.stores import open_store
from birefnet_batch.uris import canonical_uri, local_path, redact, redact_text, redact_value, user_path


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


@pytest.mark.parametrize("url", ["http://[::1/x.mp4", "https://ex\u2100mple.com/x.mp4", "http://[nothing]/x.mp4"])
def test_a_url_whose_host_cannot_be_read_is_refused_with_what_to_look_at(url: str) -> None:
    with pytest.raises(InputError, match="is no URL that can be read: its host") as caught:
        canonical_uri(f"{url}?token=very-secret", Path("/"))
    assert str(caught.value).startswith(url)
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize("user", ["me:very-secret@", "me:very-secret\uff20"])
def test_nobody_repeats_the_user_of_a_url_that_cannot_be_read(user: str) -> None:
    with pytest.raises(InputError, match=r"http://\.\.\. is no URL") as caught:
        canonical_uri(f"http://{user}[::1/x.mp4", Path("/"))
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http:///x.mp4", "https://:80/x.mp4", "http://me@/x.mp4"])
def test_a_url_without_a_host_is_refused_for_that(url: str) -> None:
    with pytest.raises(InputError, match="names no host; give https?://HOST/PATH"):
        canonical_uri(url, Path("/"))


@pytest.mark.parametrize(
    "url",
    [
        *("http:/me:very-secret@h/x.mp4?token=very-secret", "HTTPS:x.mp4?sig=very-secret", "//me:very-secret@h/x.mp4"),
        *("https//me:very-secret@h/x.mp4", "http;//h/x.mp4?sig=very-secret", "s3//b/x.mp4?X-Amz-Signature=very-secret"),
        *("me:very-secret@example.com/x.mp4", "me:very-secret@127.0.0.1:80/x.mp4"),
    ],
)
def test_a_mistyped_url_is_no_path_and_nobody_repeats_its_secrets(url: str) -> None:
    for use in (
        lambda url: canonical_uri(url, Path("/")),
        lambda url: open_store(url, StorageSettings()),
        lambda url: load_manifest(url, {}),
    ):
        with pytest.raises(
            BirefnetBatchError, match=r"\.\.\. is neither a URL nor a path: a URL begins with"
        ) as caught:
            use(url)
        assert "very-secret" not in str(caught.value) + redact(url) + redact_value(url)


@pytest.mark.parametrize(
    "path",
    [
        *("//data/x.mp4", "./http:x.mp4", "a:b.mp4", "https.mp4", "x/http:/y.mp4", "//d/a:b@c.mp4"),
        *("./s3//x.mp4", "s3/x.mp4", "https/x.mp4", "clip 10:30@home/x.mp4", "me@example.com/x.mp4", "a:b@c.mp4"),
    ],
)
def test_what_looks_a_little_like_a_url_is_a_path(path: str) -> None:
    assert canonical_uri(path, Path("/base")).startswith("file:///")
    assert redact(path) == path


def test_brackets_in_a_file_uri_are_letters_of_a_name() -> None:
    assert canonical_uri("file:///x/[1].mp4", Path("/")) == "file:///x/%5B1%5D.mp4"
    with pytest.raises(InputError, match="three slashes"):
        canonical_uri("file://[::1/x.mp4", Path("/"))


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


@pytest.mark.parametrize("name", ["a b.mp4", "ü/日本.mp4", "50%.mp4", "#1?.mp4", "-dash.mp4", "a:b.mp4", "x\ny.mp4"])
def test_any_file_name_survives_the_way_to_a_uri_and_back(name: str) -> None:
    uri = canonical_uri(name, Path("/base"))
    assert uri.startswith("file:///base/")
    assert local_path(uri) == Path("/base") / name


def test_paths_are_absolute_and_without_dots_but_links_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert canonical_uri("link/../x/./a.mp4", tmp_path) == f"file://{tmp_path}/x/a.mp4"
    assert canonical_uri(f"file://{tmp_path}/link/a.mp4", Path("/")) == f"file://{tmp_path}/link/a.mp4"


def test_a_tilde_is_a_home_folder_or_where_nobody_has_that_name_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert canonical_uri("~/a.mp4", Path("/base")) == "file:///home/me/a.mp4"
    assert canonical_uri("~nobody-here.mp4", Path("/base")) == "file:///base/~nobody-here.mp4"
    for given, path in (("~/a", "/home/me/a"), ("~nobody-here/a", "~nobody-here/a"), ("file:///x/~%20a", "/x/~ a")):
        assert user_path(given) == Path(path)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_a_bucket_is_not_given_with_a_password_and_nobody_repeats_it(scheme: str) -> None:
    for use in (lambda url: canonical_uri(url, Path("/")), lambda url: open_store(url, StorageSettings())):
        with pytest.raises(BirefnetBatchError, match="with a user name or a password before the bucket") as caught:
            use(f"{scheme}://me:very-secret@bucket/a.mp4")
        assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("az://cont/a.mp4?sv=2022-11-02&sp=r&sig=very-secret", "az://cont/a.mp4"),
        ("az://cont?sv=2022-11-02&sig=very-secret", "az://cont"),
        ("gs://b/a.mp4?X-Goog-Algorithm=x&X-Goog-Signature=very-secret", "gs://b/a.mp4"),
        ("s3://b/a.mp4?AWSAccessKeyId=x&Signature=very-secret", "s3://b/a.mp4"),
    ],
)
def test_a_signed_url_is_read_with_https_alone_and_nobody_repeats_its_signature(url: str, shown: str) -> None:
    uses = {"": lambda url: canonical_uri(url, Path("/")), "output: ": lambda url: open_store(url, StorageSettings())}
    for setting, use in uses.items():
        with pytest.raises(BirefnetBatchError, match="give the signed URL as it was made, with https://") as caught:
            use(url)
        assert str(caught.value).startswith(f"{setting}{shown} was given with a signature")
        assert "very-secret" not in str(caught.value)
    assert redact(url) == shown


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://b/a.mp4?X-Amz-Security-Token=very-secret", "X-Amz-Security-Token"),
        ("s3://b/a.mp4?versionId=3&AWSAccessKeyId=very-secret", "AWSAccessKeyId"),
        ("s3://b/a?b.mp4?x=1&aws_secret_access_key=very-secret", "aws_secret_access_key"),
        ("gs://b/k.mp4?access_token=very-secret", "access_token"),
        ("gs://b/k.mp4?access%5Ftoken=very-secret", "access%5Ftoken"),
        ("az://c/a.mp4?account_key=very-secret&x=1", "account_key"),
        ("az://c?SAS_TOKEN=very-secret", "SAS_TOKEN"),
    ],
)
def test_credentials_in_a_buckets_url_are_refused_with_where_they_belong(url: str, name: str) -> None:
    for use in (
        lambda url: canonical_uri(url, Path("/")),
        lambda url: open_store(url, StorageSettings()),
        lambda url: load_manifest(url, {}),
    ):
        with pytest.raises(
            BirefnetBatchError, match="give credentials as the cloud's own tools take them, or"
        ) as caught:
            use(url)
        assert f"was given with a credential ({name}=), which is not read with {url[:5]}" in str(caught.value)
        assert "very-secret" not in str(caught.value)
    assert "very-secret" not in redact(url) + redact_text(f"cannot read {url}: no")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "s3://b/what?.mp4",
            "gs://b/a#1.mp4",
            "az://c/x?sv=1&take=2.mp4",
            "s3://b/sig=1.mp4",
            "s3://b/a?key=b&token.mp4",
        ),
        *(
            "gs://b/which secret?.mp4",
            "s3://b/a?design=1&tokens=2.mp4",
            "s3://b/token=1.mp4",
            "az://c/x?sig",
            "s3://b/q?token=",
        ),
    ],
)
def test_a_key_may_hold_what_looks_like_parameters(url: str) -> None:
    assert canonical_uri(url, Path("/")) == url == redact(url)


def test_unknown_schemes_are_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"scheme 'ftp'; give a path, a file://, http://, https://, s3://"):
        canonical_uri("ftp://host/a.mp4", Path("/"))
    with pytest.raises(InputError, match="three slashes"):
        canonical_uri("file://videos/a.mp4", Path("/"))


@pytest.mark.parametrize(
    "text",
    ["\ufeffhttp://u:very-secret@h/a.mp4", "'http://h/a.mp4?token=very-secret'", "<https://h/a?sig=very-secret>"],
)
def test_a_url_with_something_around_it_is_no_path_and_is_not_repeated(text: str) -> None:
    with pytest.raises(InputError, match="without quotes, brackets or spaces") as caught:
        canonical_uri(text, Path("/"))
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize("begin", ["anna:very/", "anna:very?", "anna:very#", "anna:12?", "anna:12#", "anna?", "anna#"])
def test_a_password_with_a_letter_that_ends_a_host_is_refused_and_not_shown(begin: str) -> None:
    url = f"http://{begin}secret@h/a.mp4"
    with pytest.raises(InputError, match=r"/ is written as %2F, \? as %3F, # as %23") as caught:
        canonical_uri(url, Path("/"))
    for said in (str(caught.value), redact(url), redact_text(f"cannot read {url}: no")):
        assert "http://..." in said
        assert not {"anna", "very", "12", "secret"}.intersection(re.findall("[a-z0-9]+", said))


@pytest.mark.parametrize(
    "url", ["https://h?mail=a@b", "https://h/a#b@c", "https://h:80?a=1;b=@", "https://h/@anna/a.mp4"]
)
def test_an_at_sign_elsewhere_is_no_users(url: str) -> None:
    assert canonical_uri(url, Path("/")) == url
    assert redact(url).startswith("https://h")
