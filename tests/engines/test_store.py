"""The engine store: built once, whole or not there, never the wrong one."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import fsspec
import pytest

from birefnet_batch.engines import open_engine, selection, shared_store
from birefnet_batch.engines import store as store_module
from birefnet_batch.engines.artifact import Artifact
from birefnet_batch.engines.shared_store import SharedStore
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.store_names import check_readable
from birefnet_batch.engines_command import run
from birefnet_batch.errors import ConfigError, EngineError
from birefnet_batch.executors.engine_cache import EngineCache
from birefnet_batch.exit_status import FAILED
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import locate_weights
from birefnet_batch.settings import Device, EngineName, EngineSettings, Precision, Settings, StorageSettings

ARTIFACT = Artifact("onnx", "demo", "demo", "0" * 64, 64, 64, "fp32", {"deform_conv": "native"}, code="1")


def builder(content: bytes = b"engine", log: list[str] | None = None) -> Callable[[Path], dict[str, Any]]:
    def build(path: Path) -> dict[str, Any]:
        if log is not None:
            log.append(path.name)
        path.write_bytes(content)
        return {"nodes": 3}

    return build


def refusing(error: Exception) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise error

    return refuse


def unexpected(path: Path) -> dict[str, Any]:
    raise AssertionError("it is there already")


def test_an_engine_is_built_once_and_kept_with_what_it_is(tmp_path):
    store = EngineStore(tmp_path)
    path = store.get(ARTIFACT, builder())
    assert path.read_bytes() == b"engine"
    assert store.get(ARTIFACT, unexpected) == path
    (entry,) = store.entries()
    assert entry.artifact["model"] == "demo"
    assert entry.facts["facts"] == {"nodes": 3}
    assert entry.size == 6
    assert entry.intact()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    # A package's place has no pyproject.toml.
    monkeypatch.setattr(store_module, "__file__", str(tmp_path / "site" / "birefnet_batch" / "engines" / "store.py"))


@pytest.fixture
def homeless(installed, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)


NO_PLACE = "this user has no home folder; give engine.store=FOLDER"


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("wish", [{"name": EngineName.onnxruntime}, {"memory_gib": 64.0}])
def test_a_user_without_a_home_folder_is_told_to_give_the_store_where_one_is_needed(tmp_path, wish):
    settings = Settings(engine=EngineSettings(device=Device.cpu, threads=1, **wish))
    with EngineCache(settings) as cache, pytest.raises(EngineError, match=NO_PLACE):
        cache.engine(find_model("demo"), (64, 64))
    assert run(["list"]) == run(["build"]) == FAILED
    assert EngineStore(tmp_path).root == tmp_path


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16])
def test_torch_goes_on_where_there_is_no_place_for_a_store(precision):
    settings = Settings(engine=EngineSettings(name=EngineName.torch, device=Device.cpu, threads=1, precision=precision))
    with EngineCache(settings) as cache:
        assert cache.engine(find_model("demo"), (64, 64)).spec.precision == precision.value


@pytest.mark.usefixtures("homeless")
def test_torch_on_a_gpu_needs_a_store_for_what_it_compiles_alone(monkeypatch):
    monkeypatch.setattr(selection, "require", lambda name, **_: (name, "cuda"))
    demo = find_model("demo")
    wish = {"model": demo, "weights": locate_weights(demo), "width": 64, "height": 64, "precision": "fp32"}
    assert open_engine("torch", **wish).spec.device == "cuda"
    with pytest.raises(EngineError, match=NO_PLACE):
        open_engine("torch", compile=True, **wish)


@pytest.mark.usefixtures("installed")
def test_engines_are_kept_beside_what_else_is_cached_unless_older_ones_stand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "cache_folder", lambda: tmp_path / "birefnet-batch")
    assert EngineStore().root == tmp_path / "birefnet-batch" / "engines"
    older = EngineStore(tmp_path / "birefnet_batch" / "engines")
    path = older.get(ARTIFACT, builder())
    assert EngineStore().get(ARTIFACT, unexpected) == path
    EngineStore(tmp_path / "birefnet-batch" / "engines").get(ARTIFACT, builder())
    assert EngineStore().root == tmp_path / "birefnet-batch" / "engines"


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "1" * 64},
        {"width": 96},
        {"precision": "fp16"},
        {"options": {"deform_conv": "gridsample"}},
        {"code": "2"},
        {"kind": "plan", "batch": 4},
        {"libraries": {"tensorrt": "10.1"}},
        {"device": {"name": "H100"}},
    ],
)
def test_whatever_decides_an_engine_is_in_its_key(tmp_path, change):
    store = EngineStore(tmp_path)
    log: list[str] = []
    store.get(ARTIFACT, builder(log=log))
    store.get(replace(ARTIFACT, **change), builder(log=log))
    assert len(log) == 2


def test_a_damaged_engine_is_made_again_with_one_warning(tmp_path, caplog):
    store = EngineStore(tmp_path)
    path = store.get(ARTIFACT, builder())
    path.write_bytes(b"engjne")
    with caplog.at_level(logging.WARNING):
        assert store.get(ARTIFACT, builder(b"again")).read_bytes() == b"again"
    assert caplog.text.count("damaged: it is made again") == 1


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Path]:
    """A folder with a damaged engine in the layer below, as of an image's container."""
    below, above, work, merged = (tmp_path / name for name in ("below", "above", "work", "merged"))
    for folder in (below, above, work, merged):
        folder.mkdir()
    EngineStore(below).get(ARTIFACT, builder()).write_bytes(b"damage")
    options = f"redirect_dir=off,lowerdir={below},upperdir={above},workdir={work}"
    mounted = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, merged], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no overlay can be mounted here: {mounted.stderr.strip()}")
    yield merged
    subprocess.run(["umount", merged], check=True)


def test_an_engine_of_an_image_s_layer_is_made_again_and_removed(overlay, caplog):
    store = EngineStore(overlay)
    assert store.get(ARTIFACT, builder()).read_bytes() == b"engine"
    assert "is damaged: it is made again" in caplog.text
    (entry,) = store.entries()
    assert entry.intact()
    store.remove(overlay / entry.key)
    assert not [*store.entries(), *store.broken(), *store.leftovers()]


def test_an_engine_of_an_image_s_layer_that_nobody_opened_is_removed(overlay):
    store = EngineStore(overlay)
    (entry,) = store.entries()
    store.remove(overlay / entry.key)
    assert not [*store.entries(), *store.broken(), *store.leftovers()]


def test_an_engine_under_the_name_of_another_is_not_taken_for_it(tmp_path):
    store, half = EngineStore(tmp_path), replace(ARTIFACT, precision="fp16")
    one, other = (store.get(artifact, builder(artifact.precision.encode())).parent for artifact in (ARTIFACT, half))
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    assert list(store.entries()) == []
    assert store.broken() == sorted((one, other))
    assert store.get(ARTIFACT, builder(b"again")).read_bytes() == b"again"
    assert store.get(half, builder(b"again")).read_bytes() == b"again"
    assert store.broken() == []


def edited(folder: Path, change: dict[str, Any]) -> None:
    entry = json.loads((folder / "entry.json").read_text())
    entry = {name: value for name, value in {**entry, **change}.items() if value is not None}
    (folder / "entry.json").write_text(json.dumps(entry))


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in ("file", "sha256", "artifact", "created", "facts")),
        *({"created": when} for when in ("yesterday", True, float("nan"), 10**400)),
        *({"artifact": what} for what in ([], {}, {"model": "demo"})),
        {"facts": []},
        {"file": 3},
        {"sha256": 3},
    ],
    ids=str,
)
def test_a_record_that_is_not_whole_is_of_a_damaged_engine_that_is_made_again(tmp_path, change):
    store = EngineStore(tmp_path)
    folder = store.get(ARTIFACT, builder()).parent
    edited(folder, change)
    assert (list(store.entries()), store.broken()) == ([], [folder])
    assert store.get(ARTIFACT, builder(b"again")).read_bytes() == b"again"


@pytest.mark.parametrize("content", ["{", "[]", "null", "[" * 100_000, "\xff"], ids=lambda content: content[:4])
def test_what_is_no_record_is_of_a_damaged_engine_that_is_made_again(tmp_path, content):
    store = EngineStore(tmp_path)
    folder = store.get(ARTIFACT, builder()).parent
    (folder / "entry.json").write_bytes(content.encode("latin-1"))
    assert (list(store.entries()), store.broken()) == ([], [folder])
    assert store.get(ARTIFACT, builder(b"again")).read_bytes() == b"again"


@pytest.mark.parametrize(
    "change",
    [
        *({"width": 0}, {"batch": "2"}, {"options": {}}, {"device": {"name": 3}}, {"device": {"name": "any"}}),
        {"options": {"deform_conv": "native", "workspace_bytes": "x"}},
    ],
    ids=str,
)
def test_what_no_engine_can_be_is_a_damaged_one_under_the_key_that_fits_it(tmp_path, change):
    store, wrong = EngineStore(tmp_path), replace(ARTIFACT, **change)
    store.get(ARTIFACT, builder()).parent.rename(tmp_path / wrong.key)
    edited(tmp_path / wrong.key, {"artifact": {**asdict(ARTIFACT), **change}})
    assert (list(store.entries()), store.broken()) == ([], [tmp_path / wrong.key])


@pytest.mark.parametrize("place", ["../../s.mp4", "{folder}/s.mp4", "entry.json"])
def test_an_engine_is_the_file_that_a_store_gives_its_name_to_and_no_other(tmp_path, place):
    (tmp_path / "s.mp4").write_bytes(b"of the user")
    store = EngineStore(tmp_path / "store")
    folder = store.get(ARTIFACT, builder()).parent
    sha256 = hashlib.sha256(b"of the user").hexdigest()
    edited(folder, {"file": place.format(folder=tmp_path), "sha256": sha256})
    assert (list(store.entries()), store.broken()) == ([], [folder])
    assert store.get(ARTIFACT, builder(b"again")) == folder / "model.onnx"
    assert (tmp_path / "s.mp4").read_bytes() == b"of the user"


def test_an_engine_that_cannot_be_built_leaves_nothing(tmp_path):
    def fails(path: Path) -> dict[str, Any]:
        path.write_bytes(b"half")
        raise EngineError("no")

    store = EngineStore(tmp_path)
    with pytest.raises(EngineError, match="no"):
        store.get(ARTIFACT, fails)
    assert list(store.entries()) == []
    assert not list(tmp_path.rglob("model.*"))
    assert store.get(ARTIFACT, builder()).is_file()


PROCESS = """
import logging, os, pathlib, sys, time
from birefnet_batch.engines.artifact import Artifact
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.engines.store_names import check_readable
logging.basicConfig(level=logging.INFO, format="%(message)s")
root, how = pathlib.Path(sys.argv[1]), sys.argv[2]
artifact = Artifact("onnx", "demo", "demo", "0" * 64, 64, 64, "fp32", {"deform_conv": "native"}, code="1")
def build(path):
    path.write_bytes(b"half")
    print("building", flush=True)
    sys.stdin.readline()
    if how == "dies":
        os._exit(9)
    path.write_bytes(b"engine")
    return {}
print(EngineStore(root).get(artifact, build).read_bytes().decode(), flush=True)
"""


def start(root: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, str(root), how]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def test_of_two_processes_one_builds_and_the_other_waits_and_sees_who(tmp_path):
    with start(tmp_path, "builds") as first:
        assert first.stdout.readline() == "building\n"
        with start(tmp_path, "builds") as second:
            waiting = second.stderr.readline()
            assert f"process {first.pid} on " in waiting
            assert "has been building the onnx demo 64x64 fp32 native for" in waiting
            (line,) = EngineStore(tmp_path).building()
            assert line.startswith(f"{ARTIFACT.key}: process {first.pid} on ")
            assert "has been building the onnx demo 64x64 fp32 native for" in line
            first.stdin.write("go\n")
            first.stdin.flush()
            assert second.stdout.read() == "engine\n"
        assert first.stdout.read() == "engine\n"


def test_a_builder_that_dies_holds_nobody_up_and_leaves_nothing(tmp_path):
    with start(tmp_path, "dies") as first:
        assert first.stdout.readline() == "building\n"
        assert EngineStore(tmp_path).building()
        assert EngineStore(tmp_path).leftovers() == [], "who lives is let work"
        first.communicate("go\n")
    assert first.returncode == 9
    store = EngineStore(tmp_path)
    assert store.building() == [], "who died builds nothing"
    (left,) = store.leftovers()
    assert (left / "model.onnx").read_bytes() == b"half"
    assert store.get(ARTIFACT, builder()).read_bytes() == b"engine"
    assert not list((tmp_path / ".building").iterdir())
    assert store.building() == []


def test_a_build_whose_lock_may_not_be_asked_is_listed(tmp_path):
    (tmp_path / ".locks" / "a.lock").mkdir(parents=True)
    (tmp_path / ".locks" / "a.json").write_text('{"pid": 7, "host": "here", "since": 0}')
    (line,) = EngineStore(tmp_path).building()
    assert line.startswith("a: process 7 on here has been building it for ")


@pytest.mark.parametrize("bucket", [False, True], ids=["folder", "bucket"])
def test_a_shared_store_is_read_first_and_filled_after(tmp_path, bucket):
    url = f"memory://engines-{tmp_path.name}" if bucket else str(tmp_path / "shared")
    one = EngineStore(tmp_path / "one", SharedStore(url))
    other = EngineStore(tmp_path / "other", SharedStore(url))
    one.get(ARTIFACT, builder())
    assert other.get(ARTIFACT, unexpected).read_bytes() == b"engine"
    (entry,) = other.entries()
    assert entry.artifact["model"] == "demo"


def test_a_shared_store_in_a_bucket_is_asked_with_the_options_of_storage(tmp_path, monkeypatch):
    asked: list[Any] = []
    storage = StorageSettings(options={"s3": {"endpoint_url": "http://minio:9000"}})

    def files(scheme: str, settings: StorageSettings) -> Any:
        asked.append((scheme, settings))
        return fsspec.filesystem("memory")

    monkeypatch.setattr(shared_store, "bucket_filesystem", files)
    url = f"s3://bucket-{tmp_path.name}/engines"
    EngineStore(tmp_path / "one", SharedStore(url, storage)).get(ARTIFACT, builder())
    assert EngineStore(tmp_path / "other", SharedStore(url, storage)).get(ARTIFACT, unexpected).is_file()
    assert asked == [("s3", storage)] * 2


def test_a_shared_store_whose_url_has_a_password_is_a_wrong_setting(monkeypatch):
    monkeypatch.setattr(shared_store, "bucket_filesystem", lambda scheme, settings: None)
    with pytest.raises(ConfigError, match="s3://bucket/engines was given with a user name or a password") as caught:
        SharedStore("s3://me:secret@bucket/engines")
    assert "secret" not in str(caught.value)


def test_a_damaged_engine_of_a_shared_store_is_not_taken(tmp_path, caplog):
    shared = tmp_path / "shared"
    EngineStore(tmp_path / "one", SharedStore(str(shared))).get(ARTIFACT, builder())
    (shared / ARTIFACT.key / "model.onnx").write_bytes(b"engjne")
    other = EngineStore(tmp_path / "other", SharedStore(str(shared)))
    with caplog.at_level(logging.WARNING):
        assert other.get(ARTIFACT, builder(b"again")).read_bytes() == b"again"
    assert "damaged" in caplog.text
    assert json.loads((shared / ARTIFACT.key / "entry.json").read_text())["file"] == "model.onnx"
    assert (shared / ARTIFACT.key / "model.onnx").read_bytes() == b"again"


def test_an_engine_of_a_shared_store_under_the_name_of_another_is_not_taken_and_is_mended(tmp_path, caplog):
    shared = SharedStore(str(tmp_path / "shared"))
    half = replace(ARTIFACT, precision="fp16")
    EngineStore(tmp_path / "one", shared).get(half, builder(b"half"))
    shutil.copytree(tmp_path / "shared" / half.key, tmp_path / "shared" / ARTIFACT.key)
    with caplog.at_level(logging.WARNING):
        assert EngineStore(tmp_path / "other", shared).get(ARTIFACT, builder()).read_bytes() == b"engine"
    assert caplog.text.count("is damaged: it is made again") == 1
    assert EngineStore(tmp_path / "third", shared).get(ARTIFACT, unexpected).read_bytes() == b"engine"


@pytest.mark.parametrize("content", ["{", "[]", '{"file": "model.onnx"}'])
def test_what_is_no_record_in_a_shared_store_is_said_to_be_damaged_and_mended(tmp_path, caplog, content):
    shared = SharedStore(str(tmp_path / "shared"))
    EngineStore(tmp_path / "one", shared).get(ARTIFACT, builder())
    (tmp_path / "shared" / ARTIFACT.key / "entry.json").write_text(content)
    with caplog.at_level(logging.WARNING):
        assert EngineStore(tmp_path / "other", shared).get(ARTIFACT, builder(b"again")).read_bytes() == b"again"
    (said,) = caplog.messages
    assert said.endswith(f"in the shared store {tmp_path / 'shared'} is damaged: it is made again")
    assert EngineStore(tmp_path / "third", shared).get(ARTIFACT, unexpected).read_bytes() == b"again"


@pytest.mark.parametrize(("damaged", "content"), [("entry.json", b"{"), ("model.onnx", b"eng")])
def test_a_damaged_engine_of_a_shared_store_is_mended_by_the_machine_that_offers_a_whole_one(
    tmp_path, caplog, damaged, content
):
    shared = SharedStore(str(tmp_path / "shared"))
    store = EngineStore(tmp_path / "one", shared)
    path = store.get(ARTIFACT, builder())
    (tmp_path / "shared" / ARTIFACT.key / damaged).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        store.offer(path)
    (said,) = caplog.messages
    assert said.endswith("is damaged: it is made again")
    assert EngineStore(tmp_path / "other", shared).get(ARTIFACT, unexpected).read_bytes() == b"engine"


@pytest.mark.parametrize("content", [b"eng", b"another engine"])
def test_an_engine_of_a_shared_store_is_not_replaced_by_another_or_a_damaged_one(tmp_path, caplog, content):
    shared = SharedStore(str(tmp_path / "shared"))
    EngineStore(tmp_path / "one", shared).get(ARTIFACT, builder())
    other = EngineStore(tmp_path / "other")
    path = other.get(ARTIFACT, builder(content))
    if content == b"eng":
        shutil.copy(tmp_path / "one" / ARTIFACT.key / "entry.json", path.parent)
    EngineStore(tmp_path / "other", shared).offer(path)
    assert (tmp_path / "shared" / ARTIFACT.key / "model.onnx").read_bytes() == b"engine"
    assert not caplog.records


def test_a_shared_store_that_cannot_be_reached_costs_one_warning_for_all_engines(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    store = EngineStore(tmp_path / "one", SharedStore(str(tmp_path / "file" / "shared")))
    with caplog.at_level(logging.WARNING):
        for artifact in (ARTIFACT, replace(ARTIFACT, width=96)):
            path = store.get(artifact, builder())
            assert path.read_bytes() == b"engine"
            store.offer(path)
    assert caplog.text.count("cannot be used: [Errno 20] Not a directory") == 1


def test_a_shared_store_that_fails_in_another_way_is_said_again(tmp_path, caplog, monkeypatch):
    shared = SharedStore(f"memory://engines-{tmp_path.name}")
    store = EngineStore(tmp_path / "one", shared)
    with caplog.at_level(logging.WARNING):
        for width, error in enumerate((PermissionError("no key"), OSError("disk full"), OSError("disk full")), 1):
            with monkeypatch.context() as patch:
                patch.setattr(type(shared._files), "put_file", refusing(error))
                store.get(replace(ARTIFACT, width=width), builder())
    assert [message.partition("cannot be used: ")[2] for message in caplog.messages] == [
        "no key; this machine builds its own",
        "disk full; this machine builds its own",
    ]


def test_a_shared_store_that_fails_after_long_is_not_asked_again(tmp_path, monkeypatch):
    """As where a connection is refused, which a bucket's library tries for a minute."""
    shared = SharedStore(f"memory://slow-{tmp_path.name}")
    asked = Mock(side_effect=OSError("connection refused"))
    monkeypatch.setattr(type(shared._files), "cat_file", asked)
    monkeypatch.setattr(shared_store, "_LONG_S", 0.0)
    for width in (32, 64):
        assert EngineStore(tmp_path / "one", shared).get(replace(ARTIFACT, width=width), builder()).is_file()
    assert asked.call_count == 1


def test_a_bucket_that_does_not_answer_is_waited_for_once(tmp_path, caplog):
    pytest.importorskip("s3fs")
    connections: list[socket.socket] = []

    def accept(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connections.append(server.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=accept, args=(silent,), daemon=True).start()
        options = {"endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}", "key": "k", "secret": "s"}
        storage = StorageSettings(timeout_s=2, max_retries=5, options={"s3": options})
        store = EngineStore(tmp_path, SharedStore("s3://bucket/engines", storage))
        started = time.monotonic()
        with caplog.at_level(logging.WARNING):
            path = store.get(ARTIFACT, builder())
            store.offer(path)
        assert time.monotonic() - started < 60, "its library alone tries for minutes"
        assert path.read_bytes() == b"engine"
        assert caplog.text.count("the storage did not answer in time (storage.timeout_s); this machine builds") == 1
        for connection in connections:
            connection.close()


def test_a_bucket_gets_objects_and_no_folders_so_that_a_mistyped_one_is_not_made(tmp_path, monkeypatch):
    asked = []

    class Bucket:
        def __getattr__(self, name: str) -> Any:
            return lambda *places, **more: asked.append((name, *places, more))

    monkeypatch.setattr(shared_store, "bucket_filesystem", lambda scheme, settings: Bucket())
    (tmp_path / "model.onnx").write_bytes(b"0" * 16384)
    (tmp_path / "entry.json").write_text("")
    SharedStore("s3://bucket/engines", StorageSettings(timeout_s=5)).put(ARTIFACT, tmp_path)
    place = f"bucket/engines/{ARTIFACT.key}"
    assert asked == [
        ("put_file", str(tmp_path / name), f"{place}/{name}", {"timeout": seconds})
        for name, seconds in (("model.onnx", 6), ("entry.json", 5))
    ]


def test_a_shared_store_that_refuses_the_connection_costs_a_warning(tmp_path, caplog):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with caplog.at_level(logging.WARNING):
        store = EngineStore(tmp_path, SharedStore(f"ftp://me:secret@127.0.0.1:{port}/engines"))
        path = store.get(ARTIFACT, builder())
        store.offer(path)
    assert path.read_bytes() == b"engine"
    assert "cannot be used: [Errno 111] Connection refused; this machine builds its own" in caplog.text
    assert "secret" not in caplog.text


def test_a_shared_stores_password_that_cannot_be_read_is_not_repeated():
    with pytest.raises(
        ConfigError, match=r"engine.shared_store=ftp://\.\.\. cannot be used: no readable URL"
    ) as caught:
        SharedStore("ftp://me:sec/ret@host/engines")
    assert "sec" not in str(caught.value)


def test_a_shared_store_of_an_unknown_scheme_is_a_wrong_setting():
    with pytest.raises(ConfigError, match="engine.shared_store=nowhere://x cannot be used"):
        SharedStore("nowhere://x")


@pytest.mark.parametrize(("kind", "message"), [("folder", None), ("file", "cannot be used: invalid argument")])
def test_engines_are_built_where_folders_cannot_be_synced_and_no_error_of_a_file_is_passed_over(
    tmp_path, monkeypatch, kind, message
):
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == (kind == "folder"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(EngineError, match=message) if message else nullcontext():
        assert EngineStore(tmp_path).get(ARTIFACT, builder()).read_bytes() == b"engine"


def test_an_engines_name_is_on_the_disk_before_it_is_used(tmp_path, monkeypatch):
    synced: list[tuple[Path, bool]] = []
    final = tmp_path / ARTIFACT.key
    monkeypatch.setattr(store_module, "sync", lambda path: synced.append((path, final.is_dir())))
    EngineStore(tmp_path).get(ARTIFACT, builder())
    assert {path.name for path, named in synced if not named} > {"model.onnx", "entry.json"}
    assert synced[-1] == (tmp_path, True)


@pytest.mark.parametrize("name", ["file", "x" * 300], ids=["file", "too long"])
def test_a_store_that_cannot_be_written_says_which_setting_to_change(tmp_path, name):
    (tmp_path / "file").write_text("")
    both = r"give engine\.store=FOLDER \(birefnet-batch-engines: --store FOLDER\)$"
    with pytest.raises(EngineError, match=both):
        EngineStore(tmp_path / name).get(ARTIFACT, builder())


def test_a_store_that_may_not_be_entered_says_which_setting_to_change(tmp_path, monkeypatch):
    def closed(*_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        # Who runs the tests as root may enter everything.
        for name in ("glob", "exists", "is_dir", "mkdir"):
            patch.setattr(Path, name, closed)
        patch.setattr(os, "scandir", closed)
        with pytest.raises(EngineError, match="cannot be used: permission denied; .* give engine.store=FOLDER"):
            EngineStore(tmp_path / "store").get(ARTIFACT, builder())
        with pytest.raises(EngineError, match="cannot be read: permission denied; .* give --store FOLDER"):
            check_readable(tmp_path / "store", named=False)
