"""Where the demo model's downloads, caches and results lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data" / "demo_model"
DOWNLOADS = DATA / "downloads"
SOURCES = DATA / "sources"
CACHE = DATA / "cache"
CHECKPOINT = DATA / "checkpoint.pt"
WEIGHTS = ROOT / "birefnet_batch" / "models" / "demo" / "demo.safetensors"
CLIPS = ROOT / "birefnet_batch" / "models" / "demo" / "clips"
PICTURES = ROOT / "birefnet_batch" / "models" / "demo" / "pictures"
