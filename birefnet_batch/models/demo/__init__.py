"""The demo model: its weights and its model card."""
