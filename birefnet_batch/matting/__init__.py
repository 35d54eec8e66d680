"""Frames to network input, logits to mattes, foreground colours, compositing, levels."""

from birefnet_batch.matting.composite import composite, cut_out, lifted
from birefnet_batch.matting.foreground import estimate_foreground
from birefnet_batch.matting.levels import full_scale, to_bytes, to_words
from birefnet_batch.matting.preprocess import frames_to_input, logits_to_matte

__all__ = [
    "composite",
    "cut_out",
    "estimate_foreground",
    "frames_to_input",
    "full_scale",
    "lifted",
    "logits_to_matte",
    "to_bytes",
    "to_words",
]
