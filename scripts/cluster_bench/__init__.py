"""The parts of scripts/bench_cluster.py."""
