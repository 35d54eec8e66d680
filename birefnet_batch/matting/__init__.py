"""Frames to network input, logits to mattes, foreground colours, compositing."""

from birefnet_batch.matting.composite import composite, cut_out, to_bytes
from birefnet_batch.matting.foreground import estimate_foreground
from birefnet_batch.matting.preprocess import frames_to_input, logits_to_matte

__all__ = ["composite", "cut_out", "estimate_foreground", "frames_to_input", "logits_to_matte", "to_bytes"]
