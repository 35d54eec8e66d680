"""Hostile inputs for scripts/fuzz_inputs.py."""
