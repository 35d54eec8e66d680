"""What makes the network fast on a CPU, each thing apart: functions that turn one off, for bench_model.py.

Each is called before an engine is opened, and acts on the whole process.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def without_packing() -> None:
    """Products by torch's own layout of weights."""
    import birefnet_batch.models.linear

    birefnet_batch.models.linear._PACKED_DTYPES = ()


def without_chunks() -> None:
    """Whole token maps at once."""
    import birefnet_batch.models.swin

    birefnet_batch.models.swin.CPU_CHUNK_ELEMENTS = 1 << 40


def without_adding_up() -> None:
    """Every branch of a pyramid as a whole map before the 1x1 convolution."""
    from birefnet_batch.models.pyramid import DeformableBranch

    DeformableBranch.projects = property(lambda branch: False)  # type: ignore[assignment]


def without_tables() -> None:
    """Samples by grid_sample, channel by channel, in place of rows of a table."""
    from birefnet_batch.models import deformable

    without_adding_up()
    deformable.table_convolution = deformable.grid_sample_convolution


def without_channels_last() -> None:
    """Image patches stored plane by plane; what they are laid beside follows them."""
    from birefnet_batch.models import decoder

    patches = decoder.image_patches
    decoder.image_patches = lambda image, like: patches(image, like).contiguous()


def without_preparing() -> None:
    """Everything that follows from the weights alone anew for each frame."""
    from birefnet_batch.models.birefnet import BiRefNet

    BiRefNet.prepare = lambda network: None  # type: ignore[method-assign]


def without_folding() -> None:
    """Batch normalisation a pass of its own behind each convolution, and so no 1x1 convolution merged across it."""
    from birefnet_batch.models import decoder, pyramid
    from birefnet_batch.models.decoder import DecoderBlock
    from birefnet_batch.models.pyramid import DeformableAspp, DeformableBranch

    def normalised(x: torch.Tensor, norm: torch.nn.BatchNorm2d) -> torch.Tensor:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)

    def add_projected(branch: DeformableBranch, total: torch.Tensor, x: torch.Tensor, head: torch.Tensor) -> None:
        product = pyramid.kept(branch, "product", branch._make_product)
        for pixels, samples in pyramid.sample_rows(x, *branch.atrous_conv.plan(x), branch.atrous_conv.kernel):
            total[pixels].addmm_(normalised(product(samples), branch.bn).relu_(), head.T)

    def without_folds(self: DeformableAspp, x: torch.Tensor) -> torch.Tensor:
        branches = [self.aspp1, *self.aspp_deforms]
        *own, everywhere = self.conv1.weight.chunk(1 + len(branches), dim=1)
        batch, channels, height, width = x.shape
        mixed = F.conv2d(self.global_avg_pool(x), everywhere).expand(batch, -1, height, width)
        total = mixed.permute(0, 2, 3, 1).contiguous().view(-1, channels)
        for branch, share in zip(branches, own, strict=True):
            branch.add_projected(total, x, share[:, :, 0, 0])
        return normalised(total, self.bn1).relu_().view(batch, height, width, channels).permute(0, 3, 1, 2)

    decoder.convolve_normalised = lambda x, convolution, norm: normalised(convolution(x), norm)
    DeformableBranch._make_product = lambda branch: pyramid.Product(
        pyramid.weight_rows(branch.atrous_conv.regular_conv.weight), None
    )
    DeformableBranch.add_projected = add_projected
    DeformableAspp.forward = without_folds
    DecoderBlock.project = lambda block, x, head: F.conv2d(block(x), head)


LEVERS = {
    "packing": without_packing,
    "chunks": without_chunks,
    "adding-up": without_adding_up,
    "tables": without_tables,
    "channels-last": without_channels_last,
    "preparing": without_preparing,
    "folding": without_folding,
}
