"""Where a cluster is joined: what such an address may be, and whether anybody answers there."""

from __future__ import annotations

import socket

from birefnet_batch.errors import ConfigError
from birefnet_batch.url_redaction import redact

# Ray itself asks again and again, for minutes.
_ANSWER_S = 10.0


def check_address(address: str) -> None:
    """See that there may be a cluster at an address; `auto` and names of Ray's own are left to Ray.

    Raises:
        ConfigError: it is Ray Client's or the dashboard's, or nobody answers there.
    """
    if address.startswith("ray://"):
        raise ConfigError(
            f"executor.address={address} is Ray Client's, which carries all data through one process; run this "
            "command on a machine of the cluster with executor.address=auto, or give it to ray job submit"
        )
    if address.startswith(("http://", "https://")):
        raise ConfigError(
            f"executor.address={redact(address)} is a dashboard's, which `ray job submit --address` takes; give "
            "HOST:PORT of the head (HOST:6379, as ray start says), or auto where no RAY_ADDRESS is in the environment"
        )
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise not_joined(address, f"nobody answers there ({error})") from None


def not_joined(address: str, reason: str) -> ConfigError:
    """The error for a cluster that cannot be joined."""
    return ConfigError(
        f"executor.address={address} cannot be joined: {reason}; start a cluster there (ray start --head), "
        "or leave executor.address out to start one on this machine"
    )
