"""Blur fusion's kernels compute the formula; without a GPU they run in triton's interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from triton_compiled import SHARED_BYTES, compiled

from birefnet_batch.matting import foreground
from birefnet_batch.matting.foreground import estimate_by_arrays, estimate_foreground

# In a process of its own: the interpreter is chosen when triton is imported.
PROCESS = """
import os
os.environ["TRITON_INTERPRET"] = "1"
import torch
from birefnet_batch.matting import foreground, foreground_triton as kernels

def check(image, alpha, atol):
    given = image.clone(), alpha.clone()
    found = kernels.fuse_on_gpu(image, alpha, foreground.SIDES, foreground._EPSILON)
    wanted = foreground.estimate_by_arrays(image.double(), alpha.double())
    torch.testing.assert_close(found.double(), wanted, atol=atol, rtol=0)
    assert torch.equal(image, given[0]) and torch.equal(alpha, given[1])

def soft(*shape):
    return (torch.rand(*shape, generator=draw) * 3 - 1).clamp(0, 1)

draw = torch.Generator().manual_seed(1)
# A nearly empty matte beside a full one. The interpreter is slow: no program goes on below the picture.
kernels._COLUMN_BLOCK = {"rows": 2, "columns": 1024}
alpha = torch.where(torch.arange(700) < 500, 1.0, 2e-5).expand(1, 1, 2, 700)
check(torch.rand(1, 3, 2, 700, generator=draw), alpha, 1e-4)
# Boxes and programs so small that it goes over their borders.
foreground.SIDES = (11, 4)
kernels._ROW_BLOCK = {"rows": 4, "columns": 32}
kernels._COLUMN_BLOCK = {"rows": 16, "columns": 32}
check(torch.rand(1, 3, 18, 40, generator=draw), soft(1, 1, 18, 40), 1e-5)
check(torch.rand(1, 3, 20, 1, generator=draw), soft(1, 1, 20, 1), 1e-5)
# Several, stored pixel by pixel as the pipeline has them, and smaller than a box.
check(torch.rand(2, 3, 9, 3, generator=draw).permute(0, 3, 1, 2), soft(2, 1, 3, 9), 1e-5)
image = torch.rand(1, 3, 2, 5, generator=draw)
image[0, 0, 0, 2] = float("nan")
assert kernels.fuse_on_gpu(image, soft(1, 1, 2, 5), (6,), foreground._EPSILON)[0, 0, 0, 2].isnan()
print("equal")
"""


@pytest.mark.slow
def test_the_kernels_match_the_formula_in_the_interpreter():
    pytest.importorskip("triton", reason="triton has no build for this machine")
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True)
    assert done.stdout.strip() == "equal", done.stderr[-2000:]


def test_the_kernels_compile_for_cards(tmp_path, monkeypatch):
    pytest.importorskip("triton", reason="triton has no build for this machine")
    from birefnet_batch.matting import foreground_triton as kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    planes = dict.fromkeys(("image", "foreground", "background", "alpha", "means"), "*fp32")
    cases = (
        (kernels._row_kernel, {"before": 45, "after": 44, "reach": 64, "steps": 2, **kernels._ROW_BLOCK}),
        (kernels._column_kernel, {"before": 45, "after": 44, **kernels._COLUMN_BLOCK}),
    )
    for capability, most in SHARED_BYTES.items():
        for kernel, constants in cases:
            made = compiled(kernel, {**planes, "epsilon": "fp32"}, constants, {}, capability)
            assert made.metadata.shared <= most


@pytest.mark.parametrize(("factor", "taken"), [(1.0, True), (1.1, False), (float("nan"), False)])
def test_kernels_that_compute_something_else_are_not_used(monkeypatch, caplog, factor, taken):
    """What triton makes for a card that nobody has tried may be wrong."""
    monkeypatch.setattr(foreground, "_on_gpu", lambda image, alpha: factor * estimate_by_arrays(image, alpha))
    foreground._has_kernels.cache_clear()
    assert foreground._has_kernels(torch.device("cpu")) == taken
    assert ("foreground colours run as plain torch operations" in caplog.text) != taken
    foreground._has_kernels.cache_clear()


def test_where_memory_runs_out_nothing_is_decided(monkeypatch):
    def exhausted(image, alpha):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(foreground, "_on_gpu", exhausted)
    foreground._has_kernels.cache_clear()
    with pytest.raises(torch.OutOfMemoryError):
        foreground._has_kernels(torch.device("cpu"))
    monkeypatch.setattr(foreground, "_on_gpu", estimate_by_arrays)
    assert foreground._has_kernels(torch.device("cpu"))
    foreground._has_kernels.cache_clear()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("shape", [(1080, 1920), (37, 51), (200, 7), (5, 3000)])
def test_the_kernels_match_the_formula_on_a_gpu(shape):
    draw = torch.Generator().manual_seed(1)
    image = torch.rand(2, 3, *shape, generator=draw)
    alpha = (torch.rand(2, 1, *shape, generator=draw) * 3 - 1).clamp(0, 1)
    assert foreground._has_kernels(torch.device("cuda", 0))
    found = estimate_foreground(image.cuda(), alpha.cuda()).cpu()
    wanted = estimate_by_arrays(image.double(), alpha.double())
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=0)
