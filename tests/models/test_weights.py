"""Checkpoints: from a file, a folder or the hub; what is wrong with one is said."""

from __future__ import annotations

import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from birefnet_batch.errors import WeightsError
from birefnet_batch.models import build_network
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import load_network, locate_weights

DEMO = find_model("demo")
LIGHT = find_model("light")


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return build_network("demo").state_dict()


def written(path: Path, state: dict[str, torch.Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


def loaded(path: Path) -> dict[str, torch.Tensor]:
    return load_network(DEMO, locate_weights(DEMO, str(path))).state_dict()


def test_the_shipped_model_needs_nothing_from_outside():
    weights = locate_weights(DEMO)
    assert weights.sha256 == hashlib.sha256(weights.path.read_bytes()).hexdigest()
    assert weights.path.stat().st_size <= 10_000_000
    assert not load_network(DEMO, weights).training


def test_a_file_and_the_folder_that_holds_it_are_the_same(tmp_path, state):
    path = written(tmp_path / "model.safetensors", state)
    assert locate_weights(DEMO, str(tmp_path)).path == path
    assert locate_weights(DEMO, str(tmp_path)).sha256 == locate_weights(DEMO, str(path)).sha256
    for name, value in loaded(path).items():
        assert torch.equal(value, state[name]), name


def test_a_half_precision_checkpoint_runs_in_single(tmp_path, state):
    halved = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    found = loaded(written(tmp_path / "model.safetensors", halved))
    for name, value in found.items():
        assert value.dtype == state[name].dtype, name
        assert torch.equal(value, halved[name].to(value.dtype)), name


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_from_wrapped_modules_are_understood(tmp_path, state, prefix):
    wrapped = {prefix + name: value for name, value in state.items()}
    found = loaded(written(tmp_path / "model.safetensors", wrapped))
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_buffers_that_follow_from_the_network_may_be_left_out(tmp_path, state):
    derived = ("relative_position_index", "num_batches_tracked")
    kept = {name: value for name, value in state.items() if not name.endswith(derived)}
    assert len(kept) < len(state)
    found = loaded(written(tmp_path / "model.safetensors", kept))
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_every_kind_of_wrong_tensor_is_said_at_once(tmp_path, state):
    changed = dict(state)
    del changed["decoder.conv_out1.0.bias"]
    changed["decoder.conv_out9.weight"] = torch.zeros(1)
    changed["bb.patch_embed.norm.bias"] = torch.zeros(7)
    path = written(tmp_path / "model.safetensors", changed)
    with pytest.raises(WeightsError) as error:
        loaded(path)
    said = str(error.value)
    assert f"{path} are not those of Demo (network demo)" in said
    assert "1 missing: decoder.conv_out1.0.bias" in said
    assert "1 unknown: decoder.conv_out9.weight" in said
    assert "1 of another shape: bb.patch_embed.norm.bias is (7,) instead of (32,)" in said


def test_weights_of_another_model_are_refused(tmp_path, state):
    path = written(tmp_path / "model.safetensors", state)
    with pytest.raises(WeightsError, match=r"not those of General Use \(Light\) \(network swin_v1_l\)"):
        load_network(LIGHT, locate_weights(LIGHT, str(path)))


@pytest.mark.parametrize("content", [b"", b"not safetensors at all, really", b"\xff" * 64])
def test_a_damaged_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"no safetensors file that can be read"):
        loaded(path)


def test_a_truncated_file_is_one_clear_error(tmp_path, state):
    path = written(tmp_path / "model.safetensors", state)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"no safetensors file that can be read"):
        loaded(path)


def test_a_folder_must_hold_one_checkpoint(tmp_path, state):
    with pytest.raises(WeightsError, match="holds no safetensors file"):
        locate_weights(DEMO, str(tmp_path))
    written(tmp_path / "a.safetensors", state)
    written(tmp_path / "b.safetensors", state)
    with pytest.raises(WeightsError, match="holds 2 safetensors files; it must hold model.safetensors, or exactly one"):
        locate_weights(DEMO, str(tmp_path))


def test_a_path_that_is_not_there_says_how_to_get_the_weights(tmp_path):
    with pytest.raises(WeightsError) as error:
        locate_weights(LIGHT, str(tmp_path / "none.safetensors"))
    said = str(error.value)
    assert f"weights.light={tmp_path}/none.safetensors does not exist" in said
    assert "`hf download ZhengPeng7/BiRefNet model.safetensors --local-dir weights/light`" in said
    assert "give weights.light=weights/light" in said


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download takes: metadata in headers, then the file."""

    commit = "0123456789abcdef0123456789abcdef01234567"
    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        self.asked.append(f"{self.command} {self.path}")
        content = self.files.get(self.path)
        if content is None:
            self.send_response(404 if self.path != "/" else 200)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    handler = type("Handler", (Hub,), {"files": {}, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def located_elsewhere(tmp_path: Path, endpoint: str, setting: str | None = None, **environment: str) -> str:
    """What a fresh process says: the hub's library reads its environment once."""
    code = (
        "import sys\n"
        "from birefnet_batch.errors import WeightsError\n"
        "from birefnet_batch.models.registry import find_model\n"
        "from birefnet_batch.models.weights import locate_weights\n"
        "try:\n"
        "    found = locate_weights(find_model('light'), *sys.argv[1:])\n"
        "    print(found.source, found.sha256, found.path)\n"
        "except WeightsError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *([setting] if setting else [])],
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": endpoint, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


def test_published_weights_come_from_the_hub_once(tmp_path, hub):
    endpoint, handler = hub
    content = os.urandom(5000)
    handler.files["/ZhengPeng7/BiRefNet/resolve/main/model.safetensors"] = content
    first = located_elsewhere(tmp_path, endpoint)
    source, digest, path = first.split()
    assert source == f"ZhengPeng7/BiRefNet@{Hub.commit}"
    assert digest == hashlib.sha256(content).hexdigest()
    assert Path(path).read_bytes() == content
    asked = len(handler.asked)
    assert located_elsewhere(tmp_path, endpoint) == first
    assert len(handler.asked) == asked, "a cached checkpoint needs no network"


def test_a_revision_can_be_pinned(tmp_path, hub):
    endpoint, handler = hub
    handler.files["/someone/finetuned/resolve/v2/model.safetensors"] = b"weights"
    assert located_elsewhere(tmp_path, endpoint, "someone/finetuned@v2").startswith(f"someone/finetuned@{Hub.commit}")


def test_a_repository_that_is_not_there_is_one_clear_error(tmp_path, hub):
    said = located_elsewhere(tmp_path, hub[0], "someone/typo")
    assert said.startswith("The weights of General Use (Light) (someone/typo) cannot be had: ")
    assert "404" in said
    assert "`hf download someone/typo model.safetensors --local-dir weights/light`" in said


@pytest.mark.parametrize("environment", [{}, {"HF_HUB_OFFLINE": "1"}], ids=["no network", "offline"])
def test_without_a_network_the_command_and_the_folder_are_said(tmp_path, environment):
    said = located_elsewhere(tmp_path, "http://127.0.0.1:9", **environment)
    assert "cannot be had: they are not in the hub's cache on this machine" in said
    assert "`hf download ZhengPeng7/BiRefNet model.safetensors --local-dir weights/light`" in said
    assert "give weights.light=weights/light" in said
