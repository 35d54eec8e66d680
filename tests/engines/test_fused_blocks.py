"""Blocks with fewer passes compute what the plain ones do; without a GPU their kernels run in triton's interpreter."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from triton_compiled import SHARED_BYTES, compiled

from birefnet_batch.models.registry import find_model
from birefnet_batch.models.swin import SwinBlock
from birefnet_batch.models.weights import load_network, locate_weights

# In a process of its own: the interpreter is chosen when triton is imported.
PROCESS = """
import os
os.environ["TRITON_INTERPRET"] = "1"
from copy import deepcopy
import torch
from birefnet_batch.engines import fused_blocks
from birefnet_batch.models.swin import SwinBlock

torch.manual_seed(0)
fused_blocks.GPU_CHUNK_ELEMENTS = 1000
# Maps of many windows and padding both ways, of one window, of less than one, and none to pad.
for channels, heads, window, shape in (
    (48, 3, 7, (2, 9, 15)), (32, 2, 4, (1, 4, 4)), (32, 4, 8, (3, 3, 5)), (16, 1, 4, (1, 8, 12))
):
    for shifted in (False, True):
        block = SwinBlock(channels, heads, window, shifted).eval()
        for parameter in block.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        tokens = torch.randn(*shape, channels)
        before = tokens.clone()
        with torch.inference_mode():
            found, wanted = fused_blocks.fused_block(block, tokens), block(tokens)
        torch.testing.assert_close(found, wanted, atol=2e-5, rtol=2e-5)
        with torch.inference_mode():
            halved = fused_blocks.fused_block(deepcopy(block).half(), tokens.half()).float()
        assert (halved - wanted).abs().max() <= 0.02 * wanted.abs().max()
        assert torch.equal(tokens, before)
        fused_blocks.compare_blocks(block)
# One channel a hundred times as large as others, as large networks have it, hides nothing in the others.
with torch.no_grad():
    block.mlp.fc2.weight[3] *= 100
kernel = fused_blocks.add_normalised
for fault in (
    lambda tokens, mixed, back, norm, ahead: kernel(tokens, mixed, back, norm, 0 * ahead),
    lambda tokens, mixed, back, norm, ahead: kernel(tokens, 0 * mixed, back, norm, ahead),
    lambda tokens, mixed, back, norm, ahead: kernel(tokens, mixed, back.flip(0), norm, ahead),
    lambda tokens, mixed, back, norm, ahead: kernel(tokens, mixed * float("nan"), back, norm, ahead),
):
    fused_blocks.add_normalised = fault
    try:
        fused_blocks.compare_blocks(block)
    except RuntimeError as error:
        print(error)
"""


def test_a_fused_block_matches_the_plain_one_in_the_interpreter_and_faults_are_seen():
    pytest.importorskip("triton", reason="triton has no build for this machine")
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["what it computes is wrong"] * 4, done.stderr[-2000:]


def test_gelu_by_its_tanh_moves_logits_by_less_than_half_precision_does(monkeypatch):
    images = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))

    def logits(dtype):
        network = load_network(find_model("demo"), locate_weights(find_model("demo"))).to(dtype)
        with torch.inference_mode():
            return network(images.to(dtype)).float()

    exact, half = logits(torch.float32), logits(torch.float16)
    monkeypatch.setattr(F, "gelu", partial(F.gelu, approximate="tanh"))
    by_tanh = logits(torch.float32)
    assert not torch.equal(by_tanh, exact)
    assert (by_tanh - exact).abs().mean() < 0.25 * (half - exact).abs().mean()


@pytest.mark.parametrize("name", ["fp16", "fp32", "bf16"])
def test_the_kernels_compile_for_cards_in_each_width_of_the_networks(name, tmp_path, monkeypatch):
    pytest.importorskip("triton", reason="triton has no build for this machine")
    from birefnet_batch.engines import triton_tokens

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for channels in (96, 1536):
        for kernel in (triton_tokens._gather_kernel, triton_tokens._add_kernel):
            types = dict.fromkeys(kernel.arg_names[: kernel.arg_names.index("count")], f"*{name}")
            types |= {"source": "*i32", "back": "*i32", "epsilon": "fp32"}
            made = compiled(kernel, types, triton_tokens.row_constants(channels), {}, 90)
            assert made.metadata.shared <= SHARED_BYTES[90]
            # Whole vectors of 16 bytes are read and written, or memory would be slower than it can be.
            assert "ld.global.v4.b32" in made.asm["ptx"]
            assert "st.global.v4.b32" in made.asm["ptx"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 2e-2), (torch.bfloat16, 2e-1)])
@pytest.mark.parametrize(("channels", "heads", "window"), [(192, 6, 12), (768, 24, 7)])
def test_a_fused_block_matches_the_plain_one_on_a_gpu(dtype, tolerance, channels, heads, window):
    from birefnet_batch.engines.fused_blocks import fused_block

    torch.manual_seed(0)
    block, tokens = SwinBlock(channels, heads, window, True).eval().cuda(), torch.randn(2, 30, 41, channels).cuda()
    with torch.inference_mode():
        wanted = block(tokens)
        found = fused_block(block.to(dtype), tokens.to(dtype)).float()
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=tolerance)
