"""What the official implementation gave."""

from pathlib import Path

REFERENCE = Path(__file__).parent
