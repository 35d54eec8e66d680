"""What runs are called."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime

_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}", re.ASCII)


def new_run_id() -> str:
    """A name that sorts by time, to the microsecond, and is unique."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{secrets.token_hex(1)[0]}"


def is_run_id(name: str) -> bool:
    """Whether a name is as `new_run_id` makes them."""
    return _RUN_ID.fullmatch(name) is not None
