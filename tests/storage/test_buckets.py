"""Inputs and results in S3, Google Cloud Storage and Azure, against real servers."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from servers import Cloud

from birefnet_batch import Request, Settings, run
from birefnet_batch.engines.artifact import Artifact
from birefnet_batch.engines.shared_store import SharedStore
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.errors import BirefnetBatchError, ConfigError, FetchError, InputError, ManifestError, OutputError
from birefnet_batch.manifest import load_manifest
from birefnet_batch.manifest_export import export_manifest
from birefnet_batch.settings import StorageSettings
from birefnet_batch.status import read_status
from birefnet_batch.storage import Output, open_source, source_facts
from birefnet_batch.storage.bucket_source import _errors
from birefnet_batch.storage.bucket_store import BucketStore
from birefnet_batch.storage.lookup import many_source_facts
from birefnet_batch.storage.stores import open_store

CONTENT = bytes(range(256)) * 8192


def files(cloud: Cloud) -> Any:
    store = open_store(cloud.root + "/x", cloud.settings())
    assert isinstance(store, BucketStore)
    return store._files


def test_results_appear_whole_are_listed_and_read_back(cloud: Cloud, tmp_path: Path) -> None:
    location = f"{cloud.root}/results/of a test"
    with Output(location, "run", cloud.settings(scratch=str(tmp_path / "scratch"))) as output:
        staged = output.staged("media")
        staged.write_bytes(CONTENT)
        output.publish(staged, "jobs/a/clip.mp4", "video/mp4")
        output.write("jobs/a/complete-1", b"")
        output.write("jobs/b/job.json", b"{}")
        assert not staged.exists()
        assert output.list("jobs/a") == ["clip.mp4", "complete-1"]
        assert output.list("jobs/none") == []
        assert sorted(output.store.walk("jobs")) == [("a", "clip.mp4"), ("a", "complete-1"), ("b", "job.json")]
        assert output.read("jobs/a/clip.mp4") == CONTENT
        assert output.read("jobs/a/none") is None
        assert output.version("jobs/a/none") is None
        version = output.version("jobs/a/clip.mp4")
        assert version is not None
        assert output.version("jobs/a/clip.mp4") == version
        output.write("jobs/a/clip.mp4", b"another")
        assert output.version("jobs/a/clip.mp4") not in (None, version)
        output.write("jobs/a/clip.mp4", CONTENT)
        output.remove("jobs/a/complete-1")
        output.remove("jobs/a/complete-1")
        assert output.list("jobs/a") == ["clip.mp4"]
        assert output.uri("jobs/a/clip.mp4") == f"{location}/jobs/a/clip.mp4"
        other = pickle.loads(pickle.dumps(output))
        with other.attach():
            assert other.read("jobs/b/job.json") == b"{}"
    assert output.list(".lease") == []
    assert not (tmp_path / "scratch").exists()


def test_engines_travel_through_a_bucket_and_none_is_put_where_one_is(cloud: Cloud, tmp_path: Path) -> None:
    artifact = Artifact("onnx", "demo", "demo", "0" * 64, 64, 64, "fp32", {"deform_conv": "native"}, code="1")

    def build(path: Path) -> dict[str, Any]:
        path.write_bytes(CONTENT)
        return {}

    def unexpected(path: Path) -> dict[str, Any]:
        raise AssertionError("it is there already")

    shared = SharedStore(f"{cloud.root}/engines", cloud.settings())
    one, other = EngineStore(tmp_path / "one", shared), EngineStore(tmp_path / "other", shared)
    one.get(artifact, build)
    path = other.get(artifact, unexpected)
    assert path.read_bytes() == CONTENT
    path.write_bytes(b"damaged here")
    other.offer(path)
    assert EngineStore(tmp_path / "third", shared).get(artifact, unexpected).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("error", "kind"), [(FileNotFoundError("bucket/a.mp4"), InputError), (PermissionError("Forbidden"), FetchError)]
)
def test_an_object_that_may_not_be_read_from_here_is_told_from_one_that_is_not_there(
    error: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(InputError) as caught, _errors("s3://bucket/a.mp4"):
        raise error
    assert type(caught.value) is kind


def test_of_two_that_create_a_file_one_wins(cloud: Cloud) -> None:
    store = open_store(f"{cloud.root}/create", cloud.settings())
    assert store.create("lease", b"first")
    assert not store.create("lease", b"second")
    assert store.get("lease") == b"first"


def test_an_input_comes_whole_with_its_digest_and_a_fingerprint(cloud: Cloud, tmp_path: Path) -> None:
    uri = f"{cloud.root}/in puts/ü clip.mp4"
    files(cloud).pipe_file(uri.partition("://")[2], CONTENT)
    settings = cloud.settings()
    facts = source_facts(uri, settings)
    assert facts.size == len(CONTENT)
    assert facts == source_facts(uri, settings)
    with open_source(uri, facts, tmp_path, settings) as source:
        assert source.sha256() == hashlib.sha256(CONTENT).hexdigest()
        assert source.path.read_bytes() == CONTENT
    assert not list(tmp_path.iterdir())
    files(cloud).pipe_file(uri.partition("://")[2], CONTENT[::-1])
    assert source_facts(uri, settings).fingerprint != facts.fingerprint
    with pytest.raises(InputError, match="changed while it was read"), open_source(uri, facts, tmp_path, settings) as s:
        s.complete()


def test_a_folder_and_a_pattern_of_a_bucket_are_manifests(cloud: Cloud) -> None:
    for name in ("a/1.mp4", "a/b/2.MOV", "a/notes.txt", "a/.hidden/3.mp4", "ab/4.mp4", "a/out/jobs/x/5.mp4"):
        files(cloud).pipe_file(f"{cloud.root}/list/{name}".partition("://")[2], b"x")
    settings, root = cloud.settings(), f"{cloud.root}/list"

    def found(location: str, **more: Any) -> list[str]:
        manifest = load_manifest(location, {}, storage=settings, **more)
        return [request.video_url.removeprefix(f"{root}/") for request in manifest.requests]

    assert found(f"{root}/a", exclude=f"{root}/a/out") == ["a/1.mp4", "a/b/2.MOV"]
    assert found(f"{root}/a*/*.mp4", exclude=f"{root}/a/out") == ["a/1.mp4", "ab/4.mp4"]
    with pytest.raises(ManifestError, match="names no videos"):
        found(f"{root}/none")


def test_facts_of_many_objects_of_a_folder_are_those_of_each(cloud: Cloud) -> None:
    uris = [f"{cloud.root}/many/clip {number}.mp4" for number in range(5)]
    for number, uri in enumerate(uris[:4]):
        files(cloud).pipe_file(uri.partition("://")[2], bytes(number + 1))
    settings = cloud.settings()
    assert many_source_facts(uris, settings, 4) == {uri: source_facts(uri, settings) for uri in uris[:4]}


def test_what_is_not_there_and_folders_say_so(cloud: Cloud) -> None:
    with pytest.raises(InputError, match="nothing is there"):
        source_facts(f"{cloud.root}/none.mp4", cloud.settings())
    files(cloud).pipe_file(f"{cloud.root}/folder/a.mp4".partition("://")[2], b"x")
    with pytest.raises(InputError, match="is a folder|nothing is there"):
        source_facts(f"{cloud.root}/folder", cloud.settings())


def test_a_bucket_that_is_not_there_is_named(cloud: Cloud, tmp_path: Path) -> None:
    settings, root = cloud.settings(max_retries=0, scratch=str(tmp_path / "scratch")), f"{cloud.scheme}://none-such"
    for location in (f"{root}/in", f"{root}/in/*.mp4"):
        with pytest.raises(InputError, match="there is no bucket 'none-such'; check its name, or create it first"):
            load_manifest(location, {}, storage=settings)
    with pytest.raises(InputError, match="there is no bucket|nothing is there; check the bucket's name"):
        source_facts(f"{root}/a.mp4", settings)
    with pytest.raises(ConfigError, match="has no runs: there is no bucket 'none-such'"):
        read_status(open_store(f"{root}/out", settings))
    with pytest.raises(ConfigError, match="has no runs: there is no bucket 'none-such'"):
        export_manifest(open_store(f"{root}/out", settings), tmp_path / "videos.csv")
    with pytest.raises(ConfigError, match="has no runs: give the output of a run"):
        export_manifest(open_store(f"{cloud.root}/none such", settings), tmp_path / "videos.csv")
    for name in ("My_Bucket", "none-such"):
        with (
            pytest.raises(OutputError, match=f"there is no bucket '{name}'"),
            Output(f"{cloud.scheme}://{name}/out", "run", settings),
        ):
            pass


@pytest.mark.parametrize(
    ("scheme", "options", "said"),
    [
        ("s3", {"no_such": 1}, "storage.options.s3.no_such is no option of s3fs; it takes anon, "),
        ("gs", {"tokn": "x"}, r"storage.options.gs.tokn is no option of gcsfs; did you mean token\? It takes access, "),
        ("az", {"account": "x"}, r"storage.options.az.account is no option of adlfs; .*[Ii]t takes account_host, "),
        ("s3", {"endpoint_url": "host:9000"}, "storage.options.s3.endpoint_url=host:9000 is no URL; give http://"),
        ("gs", {"endpoint_url": "host"}, "storage.options.gs.endpoint_url=host is no URL"),
        (
            "s3",
            {"endpoint_url": "http://me:secret@host"},
            "endpoint_url=http://host was given with a user name or a pass",
        ),
        ("s3", {"endpoint_url": "me:secret@host:9000"}, "endpoint_url=host:9000 was given with a user name or a pass"),
        (
            "s3",
            {"client_kwargs": {"endpoint_url": "http://me:secret@host"}},
            "client_kwargs.endpoint_url=http://host was",
        ),
        ("s3", {"client_kwargs": {"no_such": 1}}, r"storage.options.s3 \(client_kwargs\): TypeError: .*'no_such'"),
        ("s3", {"config_kwargs": {"no_such": 1}}, r"storage.options.s3 \(config_kwargs\): TypeError: .*'no_such'"),
        ("s3", {"profile": "nobody"}, r"the credentials are missing.*config profile \(\.\.\.\) could not be found"),
    ],
)
def test_options_that_a_library_does_not_take_are_one_error_at_once(
    tmp_path: Path, scheme: str, options: dict[str, Any], said: str
) -> None:
    settings = StorageSettings(options={scheme: options}, scratch=str(tmp_path / "scratch"))
    requests = [Request(f"{scheme}://bucket/{number}.mp4", model="Demo") for number in range(2)]
    for attempt in (
        lambda: source_facts(requests[0].video_url, settings),
        lambda: Output(f"{scheme}://bucket/out", "run", settings),
        lambda: run(replace(Settings(), output=str(tmp_path / "out"), storage=settings), requests),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            attempt()
        assert len(str(caught.value).splitlines()) == 1
        assert "secret@" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_options_that_azures_library_hands_on_are_taken() -> None:
    options = {"account_name": "a", "exclude_cli_credential": True}
    assert BucketStore("az://bucket/out", StorageSettings(options={"az": options})).shown == "az://bucket/out"


def test_azure_without_any_credentials_says_how_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    with pytest.raises(
        BirefnetBatchError, match=r"the credentials are missing.* AZURE_STORAGE_\w+.*storage.options.az"
    ):
        source_facts("az://bucket/a.mp4", StorageSettings())


@pytest.mark.parametrize("which", ["s3", "azure"])
def test_wrong_keys_give_one_clear_message_without_them(request: pytest.FixtureRequest, which: str) -> None:
    cloud: Cloud = request.getfixturevalue(which)
    settings = StorageSettings(options={cloud.scheme: cloud.wrong}, max_retries=1, timeout_s=10)
    for attempt in (
        lambda: source_facts(f"{cloud.root}/a.mp4", settings),
        lambda: Output(f"{cloud.root}/out", "run", settings).__enter__(),
    ):
        with pytest.raises(BirefnetBatchError, match="the credentials are missing, wrong or may not do this") as caught:
            attempt()
        message = str(caught.value)
        assert f"storage.options.{cloud.scheme}" in message
        assert len(message.splitlines()) == 1
        assert "xml" not in message
        assert "RequestId" not in message
        for secret in cloud.wrong.values():
            assert secret.startswith("http") or secret not in message


def test_what_a_killed_upload_left_is_aborted_by_the_next_run_and_nobody_elses(s3: Cloud) -> None:
    remote = files(s3)
    for key in ("out/jobs/a/clip.mp4", "outer/jobs/a/clip.mp4"):
        remote.call_s3("create_multipart_upload", Bucket="bucket", Key=key)
    with Output(f"{s3.root}/out", "run", s3.settings()) as output:
        assert output.list("jobs/a") == []
        assert [upload["Key"] for upload in remote.list_multipart_uploads("bucket")] == ["outer/jobs/a/clip.mp4"]


def test_a_large_file_is_sent_in_parts_and_a_failure_leaves_none(
    s3: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(33 << 20))
    store = open_store(f"{s3.root}/large", s3.settings())
    remote = files(s3)
    before = len(remote.list_multipart_uploads("bucket"))
    store.put_file(large, "clip.mp4", "video/mp4")
    assert remote.info("bucket/large/clip.mp4")["ETag"].strip('"').endswith("-3")

    assert isinstance(store, BucketStore)
    real = type(store._files)._call_s3

    async def breaking(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "upload_part" and kwargs["PartNumber"] == 3:
            raise OSError("the network is gone")
        return await real(self, method, *args, **kwargs)

    monkeypatch.setattr(type(store._files), "_call_s3", breaking)
    with pytest.raises(OutputError, match="the network is gone"):
        store.put_file(large, "second.mp4", "video/mp4")
    monkeypatch.undo()
    assert store.names("") == ["clip.mp4"]
    assert len(remote.list_multipart_uploads("bucket")) == before


def test_a_missing_library_names_its_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme, library, extra in (
        ("s3", "s3fs.core", "s3"),
        ("gs", "gcsfs.core", "gcs"),
        ("az", "adlfs.spec", "azure"),
    ):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(ConfigError, match=rf"pip install 'birefnet-batch\[{extra}\]'"):
            Output(f"{scheme}://bucket/out", "run")


@pytest.mark.parametrize("location", ["s3://", "s3://bucket/a/../b", "s3://bucket//a"])
def test_a_location_without_a_bucket_or_with_odd_parts_is_refused(location: str) -> None:
    with pytest.raises(ConfigError, match="s3://BUCKET/PATH"):
        Output(location, "run")


def test_what_gcsfs_logs_before_it_raises_the_same_is_not_shown_to_whoever_set_no_logging_up() -> None:
    program = (
        "import logging; import birefnet_batch.storage.filesystems;"
        "logging.getLogger('gcsfs').error('out of retries'); logging.getLogger('other').error('shown')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == "shown\n"
