"""ONNX Runtime runs the model it was given on the provider it was asked for, or says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from birefnet_batch.engines import onnx_session, open_engine
from birefnet_batch.engines.store import EngineStore
from birefnet_batch.errors import EngineError
from birefnet_batch.models.registry import find_model
from birefnet_batch.models.weights import WeightsFile, load_network, locate_weights

DEMO = find_model("demo")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> EngineStore:
    return EngineStore(tmp_path_factory.mktemp("store"))


def engine_of(store, **changes):
    settings = {"width": 96, "height": 64, "device": "cpu", "threads": 1, "store": store, **changes}
    weights = settings.pop("weights", None) or locate_weights(DEMO)
    return open_engine("onnxruntime", model=DEMO, weights=weights, **settings)


def test_logits_are_the_networks(store):
    images = torch.randn(2, 3, 64, 96)
    with engine_of(store, batch_size=2) as engine, torch.inference_mode():
        wanted = load_network(DEMO, locate_weights(DEMO))(images)
        torch.testing.assert_close(engine.infer(images), wanted, atol=2e-4, rtol=0)


def test_a_frame_gets_the_same_bits_wherever_it_is_and_whatever_is_beside_it(store):
    images = torch.randn(3, 3, 64, 96)
    with engine_of(store, batch_size=3, threads=2) as engine:
        together = engine.infer(images)
        assert torch.equal(engine.infer(images[[2, 0, 1]]), together[[2, 0, 1]])
        assert torch.equal(engine.infer(images[1:2]), together[1:2])


# It reports nothing of what looks like somebody's tests.
REPORTED = """
import os
for name in ("CI", "ORT_RUNNING_UNIT_TESTS", "PYTEST_CURRENT_TEST"):
    os.environ.pop(name, None)
from birefnet_batch.engines.onnx_session import require_provider
require_provider("cpu")
"""


def test_what_is_run_is_reported_to_nobody(tmp_path, monkeypatch):
    """It makes a file for its reports, and a number for the machine, in the user's cache folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    subprocess.run([sys.executable, "-c", REPORTED], check=True, cwd=tmp_path)
    assert not [*tmp_path.rglob("*")]


def test_a_user_who_wants_reports_has_them(monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    onnx_session.require_provider("cpu")
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"


def test_a_warm_engine_reads_no_weights(store):
    with engine_of(store):
        pass
    known = locate_weights(DEMO)
    gone = WeightsFile(known.path.with_name("gone.safetensors"), known.sha256, known.source)
    with engine_of(store, weights=gone) as engine:
        assert engine.infer(torch.zeros(1, 3, 64, 96)).shape == (1, 1, 64, 96)


def test_the_record_says_what_ran(store):
    with engine_of(store, threads=2) as engine:
        described = engine.describe()
    assert described["family"] == "onnxruntime"
    assert described["provider"] == "CPUExecutionProvider"
    assert described["version"] == pytest.importorskip("onnxruntime").__version__
    assert (described["width"], described["height"], described["threads"]) == (96, 64, 2)


def test_an_engine_holds_the_weights_of_its_file(store):
    with engine_of(store) as engine:
        assert engine.weight_bytes == next(store.entries()).size


def test_a_missing_package_is_named_with_its_command(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with (
        pytest.raises(EngineError, match=r"not installed \(there is torch.*\): pip install 'birefnet-batch\[onnx\]'"),
        engine_of(store),
    ):
        pass


def test_a_version_without_deform_conv_is_named(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(__version__="1.24.4"))
    with pytest.raises(EngineError, match=r"onnxruntime 1.24.4 is too old: 1.31 is the first"), engine_of(store):
        pass


def test_the_version_that_a_provider_needs_is_that_of_its_form(monkeypatch):
    older = SimpleNamespace(__version__="1.24.1", get_available_providers=lambda: list(onnx_session.PROVIDERS.values()))
    monkeypatch.setitem(sys.modules, "onnxruntime", older)
    assert onnx_session.require_provider("openvino") is older
    assert onnx_session.require_provider("cpu", "openvino") is older
    with pytest.raises(EngineError, match="1.31 is the first with DeformConv"):
        onnx_session.require_provider("cuda")
    older.__version__ = "1.17.3"
    with pytest.raises(EngineError, match="1.18 is the first that reads files of IR version 10"):
        onnx_session.require_provider("openvino")


@pytest.mark.parametrize(
    ("provider", "there", "command"),
    [
        ("cpu", "onnxruntime_openvino", "pip uninstall onnxruntime-openvino, then pip install 'birefnet-batch[onnx]'"),
        ("cpu", "onnxruntime", "pip install 'birefnet-batch[onnx]' --upgrade"),
        ("cuda", "onnxruntime_openvino", "uninstall onnxruntime-openvino, then pip install 'birefnet-batch[onnx-gpu]'"),
    ],
)
def test_the_package_of_another_provider_is_to_be_uninstalled_first(tmp_path, monkeypatch, provider, there, command):
    facts = tmp_path / f"{there}-1.24.1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {there.replace('_', '-')}\nVersion: 1.24.1\n")
    has = SimpleNamespace(__version__="1.24.1", get_available_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setitem(sys.modules, "onnxruntime", has)
    # What this machine has by pip is not in question.
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(EngineError) as old:
        onnx_session.require_provider(provider)
    assert str(old.value).endswith(command)
    has.__version__ = "1.31.0"
    if provider == "cuda":
        with pytest.raises(EngineError) as lacking:
            onnx_session.require_provider(provider)
        assert str(lacking.value).endswith(command)


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-5), ("fp16", 1 / 255)])
def test_openvino_runs_the_whole_file_where_it_is_installed(store, precision, most):
    runtime = pytest.importorskip("onnxruntime")
    if "OpenVINOExecutionProvider" not in runtime.get_available_providers():
        pytest.skip("this onnxruntime has no OpenVINO: onnxruntime-openvino has, which takes its place")
    images = torch.randn(2, 3, 64, 96)
    with engine_of(store, provider="openvino", precision=precision, batch_size=2) as engine, torch.inference_mode():
        wanted = load_network(DEMO, locate_weights(DEMO))(images)
        assert engine.describe()["provider"] == "OpenVINOExecutionProvider"
        assert (engine.infer(images).sigmoid() - wanted.sigmoid()).abs().mean() < most


def test_a_provider_that_the_package_lacks_is_refused_with_those_there_are(store):
    with (
        pytest.raises(EngineError, match=r"engine.provider=openvino cannot be had: .*CPUExecutionProvider"),
        engine_of(store, provider="openvino"),
    ):
        pass


def test_where_a_gpu_s_provider_is_not_there_the_one_that_is_is_named(monkeypatch):
    of_a_cpu = SimpleNamespace(
        __version__="1.31.0", get_available_providers=lambda: ["AzureExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", of_a_cpu)
    told = r"cannot be had: .*; give engine.provider=cpu, or pip uninstall .*pip install 'birefnet-batch\[onnx-gpu\]'"
    with pytest.raises(EngineError, match=told) as refused:
        onnx_session.require_provider("cuda")
    assert "asked for" not in str(refused.value), "engine.provider=auto may have chosen it"


def test_a_provider_that_does_not_load_is_not_replaced_in_silence(store, monkeypatch):
    """What onnxruntime does where a provider's libraries are missing: it opens the session on the CPU."""
    with engine_of(store):
        pass
    runtime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    session = runtime.InferenceSession
    monkeypatch.setattr(
        runtime,
        "InferenceSession",
        lambda path, options, providers, **_: session(path, options, providers=["CPUExecutionProvider"]),
    )
    (path,) = store.root.glob("*/model.onnx")
    with pytest.raises(EngineError, match="asked for CUDAExecutionProvider and opened CPUExecutionProvider instead"):
        onnx_session.open_session(path, "cuda")


def test_a_provider_of_another_cuda_than_torch_s_is_named_with_what_brings_both(monkeypatch):
    facts = SimpleNamespace(cuda_version="13.0")
    monkeypatch.setitem(sys.modules, "onnxruntime.capi.build_and_package_info", facts)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    told = onnx_session._missing("cuda")
    assert "it is built for CUDA 13.0, and torch" in told
    assert "brings CUDA 12.8" in told
    assert "pip install" in told
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert onnx_session._missing("cuda") == "its driver, CUDA or cuDNN may be missing"
    assert "pip install 'tensorrt>=10.1,<11'" in onnx_session._missing("tensorrt")


def test_nodes_that_a_gpu_s_provider_leaves_to_the_cpu_are_counted(store, monkeypatch):
    with engine_of(store):
        pass
    runtime = pytest.importorskip("onnxruntime")

    class AsIfOnGpu(runtime.InferenceSession):
        """A provider that has loaded, and has no kernel for anything."""

        def __init__(self, path, options, providers, enable_fallback):
            assert not enable_fallback, "it would go on with the CPU by itself"
            super().__init__(path, options, providers=["CPUExecutionProvider"])

        def get_providers(self):
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(runtime, "InferenceSession", AsIfOnGpu)
    (path,) = store.root.glob("*/model.onnx")
    left = onnx_session.left_to_cpu(onnx_session.open_session(path, "cuda"))
    assert left["DeformConv"] == 20
    assert sum(left.values()) > 500


def test_a_gpu_s_provider_without_a_gpu_is_refused_by_its_own_name(store):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match=r"engine.provider=tensorrt was asked for, .*; give engine.provider=cpu, or"):
        engine_of(store, provider="tensorrt", device="auto")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("fp16", 0.05)])
def test_logits_on_a_gpu_are_the_networks(store, precision, tolerance):
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        wanted = load_network(DEMO, locate_weights(DEMO))(images).sigmoid()
    with engine_of(store, device="cuda", provider="cuda", precision=precision, batch_size=2) as engine:
        found = engine.infer(images.cuda()).sigmoid().cpu()
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)


def test_a_provider_of_another_device_is_refused(store):
    with pytest.raises(EngineError, match="engine.provider=cuda runs on cuda, but engine.device is cpu"):
        engine_of(store, provider="cuda")


def test_bfloat16_on_the_processor_is_refused(store):
    with pytest.raises(EngineError, match="no bf16; give engine.precision=fp32"), engine_of(store, precision="bf16"):
        pass
