"""Canonical URIs, and nothing secret in what is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from birefnet_batch.errors import BirefnetBatchError, InputError
from birefnet_batch.manifest import load_manifest
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.stores import open_store
from birefnet_batch.uris import canonical_uri, local_path, user_path
from birefnet_batch.url_redaction import redact, redact_text, redact_value


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
