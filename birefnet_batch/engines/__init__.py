"""Run a network behind one narrow interface."""
