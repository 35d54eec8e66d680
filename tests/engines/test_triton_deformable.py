"""The GPU kernel computes what the plain operations do; without a GPU it runs in triton's interpreter."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from triton_compiled import SHARED_BYTES, compiled

from birefnet_batch.models.deformable import grid_sample_convolution, weight_rows

# In a process of its own: the interpreter is chosen when triton is imported.
PROCESS = """
import os, sys
os.environ["TRITON_INTERPRET"] = "1"
import torch
from birefnet_batch.engines import triton_deformable
from birefnet_batch.engines.triton_deformable import triton_convolution, triton_projection
from birefnet_batch.models.deformable import grid_sample_convolution, weight_rows
torch.manual_seed(0)


def check_projection(arguments, atol):
    x, offset, modulation, weight, bias = arguments
    outputs, channels = weight.shape[:2]
    given = torch.randn(len(x) * x[0, 0].numel(), channels).to(x.dtype)
    head = (torch.randn(channels, outputs) / outputs**0.5).to(x.dtype)
    wanted = grid_sample_convolution(*(value.float() for value in arguments))
    wanted = given.float() + wanted.permute(0, 2, 3, 1).reshape(-1, outputs).relu() @ head.float().T
    triton_projection(given, x, offset, modulation, weight_rows(weight).T.contiguous(), bias, head)
    torch.testing.assert_close(given.float(), wanted, atol=atol, rtol=atol)


cases = ((2, 16, 32, 6, 11, 3), (1, 8, 24, 9, 8, 7), (1, 64, 256, 5, 4, 1))
for batch, channels, outputs, height, width, kernel in cases:
    x = torch.randn(batch, channels, height, width)
    offset = 4 * torch.randn(batch, 2 * kernel**2, height, width)
    modulation = torch.rand(batch, kernel**2, height, width)
    weight = torch.randn(outputs, channels, kernel, kernel) / (channels * kernel**2) ** 0.5
    for bias in (None, torch.randn(outputs)):
        arguments = (x, offset, modulation, weight, bias)
        found, wanted = triton_convolution(*arguments), grid_sample_convolution(*arguments)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    halves = tuple(value.half() for value in arguments)
    check_projection(halves, 1e-2)
    if kernel == 3:
        check_projection(arguments, 1e-4)
        # As where a convolution has more outputs than a program.
        triton_deformable._OUTPUTS = 16
        check_projection(halves, 1e-2)
        triton_deformable._OUTPUTS = 256
offset[0, 1, 1, 2] = float("nan")
assert triton_convolution(x, offset, modulation, weight).isnan()[0, :, 1, 2].all()
print("equal")
"""


def test_the_kernel_matches_plain_torch_in_the_interpreter():
    pytest.importorskip("triton", reason="triton has no build for this machine")
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True)
    assert done.stdout.strip() == "equal", done.stderr[-2000:]


def compiled_for(channels, dtype, name, capability, projected=0, side=3):
    from birefnet_batch.engines import triton_deformable

    constants = triton_deformable.kernel_constants(channels, 256, side, dtype)
    options = triton_deformable.launch_options(constants, dtype)
    kernel = triton_deformable._kernel
    if projected:
        kernel = triton_deformable._projecting_kernel
        constants |= {"projected": projected, "projected_block": projected}
    types = dict.fromkeys(kernel.arg_names[: kernel.arg_names.index("count")], f"*{name}")
    return compiled(kernel, types, constants, options, capability)


@pytest.mark.parametrize(
    ("dtype", "name", "projected"),
    [(torch.float16, "fp16", 0), (torch.float16, "fp16", 64), (torch.bfloat16, "bf16", 64), (torch.float32, "fp32", 0)],
)
def test_the_kernels_compile_for_cards_and_fit_their_shared_memory(dtype, name, projected, tmp_path, monkeypatch):
    pytest.importorskip("triton", reason="triton has no build for this machine")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for capability, most in SHARED_BYTES.items():
        for side in (1, 3):
            assert compiled_for(64, dtype, name, capability, projected, side).metadata.shared <= most


def test_indices_into_batches_of_more_than_two_to_the_31_values_do_not_overflow(tmp_path, monkeypatch):
    pytest.importorskip("triton", reason="triton has no build for this machine")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    # With fewer channels than pixels in a block, so that only pixels come in 64.
    text = compiled_for(16, torch.float16, "fp16", 90).asm["ttir"]
    products = re.findall(r"arith\.muli .*: tensor<64(?:x1)?x(i\d+)>", text)
    assert set(products) == {"i64"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 1e-2), (torch.bfloat16, 6e-2)])
def test_the_kernel_matches_plain_torch_on_a_gpu(dtype, tolerance):
    from birefnet_batch.engines.triton_deformable import triton_convolution, triton_projection

    generator = torch.Generator("cuda").manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device="cuda", generator=generator)

    for kernel in (1, 3, 7):
        x, offset = normal(2, 64, 33, 40), 4 * normal(2, 2 * kernel**2, 33, 40)
        modulation, weight = normal(2, kernel**2, 33, 40).sigmoid(), normal(256, 64, kernel, kernel) / (8 * kernel)
        arguments = [value.to(dtype) for value in (x, offset, modulation, weight, normal(256))]
        wanted = grid_sample_convolution(*(value.float() for value in arguments))
        torch.testing.assert_close(triton_convolution(*arguments).float(), wanted, atol=tolerance, rtol=tolerance)
        total, head = normal(2 * 33 * 40, 64).to(dtype), (normal(64, 256) / 16).to(dtype)
        projected = total.float() + wanted.permute(0, 2, 3, 1).reshape(-1, 256).relu() @ head.float().T
        *plan, weight, bias = arguments
        triton_projection(total, *plan, weight_rows(weight).T.contiguous(), bias, head)
        torch.testing.assert_close(total.float(), projected, atol=2 * tolerance, rtol=2 * tolerance)
