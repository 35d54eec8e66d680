"""Run many segments over many devices."""
