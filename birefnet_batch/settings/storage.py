"""The group `storage`."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from birefnet_batch.errors import ConfigError
from birefnet_batch.settings.fields import Group, setting

_SLOWEST, _FASTEST = Fraction(1, 100), Fraction(1000)
_ROUNDED = Fraction(1, 900)


@dataclass(frozen=True)
class StorageSettings(Group):
    """Where inputs come from and what they may cost."""

    scratch: str | None = setting(
        None, "folder for work in progress; null is <output>/.scratch, or the system's temporary folder for buckets"
    )
    max_input_bytes: int = setting(64 * 1024**3, "largest remote input that is fetched, in bytes")
    timeout_s: float = setting(60.0, "seconds a remote source may stay silent")
    max_retries: int = setting(5, "tries in a row that may fail (dropped connections, 429, 5xx) before an input does")
    allow_schemes: list[str] = setting(
        ["file", "http", "https", "s3", "gs", "az", "data"], "where inputs may come from; leave out file to close disks"
    )
    allow_private_hosts: bool = setting(
        True, "whether http(s) inputs may come from private, loopback and link-local addresses"
    )
    max_data_uri_bytes: int = setting(
        64 * 1024**2, "with sync_mode: the longest data URI of a media file, in bytes (4 for each 3 of the file)"
    )
    sequence_fps: str = setting(
        "25", "frames a second of numbered images; 23.976 and 24000/1001 are the same", number=True
    )
    options: dict[str, dict[str, Any]] = setting(
        {},
        "by scheme (s3 | gs | az): options of s3fs, gcsfs or adlfs, such as storage.options.s3.endpoint_url; "
        "credentials are better left to the cloud's own conventions",
    )

    @property
    def sequence_rate(self) -> Fraction:
        """`sequence_fps`, read; frames a second.

        Raises:
            ConfigError: it is no rate.
        """
        try:
            rate = Fraction(str(self.sequence_fps).strip())
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
        if not _SLOWEST <= rate <= _FASTEST:
            raise ConfigError(
                f"storage.sequence_fps is {self.sequence_fps!r}; give frames a second from {_SLOWEST} to {_FASTEST}, "
                "such as 24, 23.976 or 24000/1001"
            )
        # NTSC's rates are written with three decimals.
        whole = round(rate * 1001 / 1000)
        exact = Fraction(whole * 1000, 1001)
        return exact if rate.denominator > 1 and abs(rate - exact) < _ROUNDED else rate
