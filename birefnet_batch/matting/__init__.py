"""Frames to network input, logits to mattes, foreground colours, compositing."""
