"""Where a cluster is joined or started: what such an address may be, and whether anybody is reached there."""

from __future__ import annotations

import socket

from birefnet_batch.errors import ConfigError
from birefnet_batch.refusals import one_line
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


def check_own_address(host: str) -> None:
    """See that processes of this machine reach each other at its address; otherwise Ray asks without end.

    Raises:
        ConfigError: they do not.
    """
    try:
        with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
            socket.create_connection(server.getsockname()[:2], _ANSWER_S).close()
    except OSError as error:
        raise ConfigError(
            f"executor=ray cannot start Ray on this machine, whose processes do not reach each other at {host} "
            f"({one_line(error)}); bring up its loopback interface (ip link set lo up), or give executor=local"
        ) from None


def not_joined(address: str, reason: str) -> ConfigError:
    """The error for a cluster that cannot be joined."""
    return ConfigError(
        f"executor.address={address} cannot be joined: {reason}; start a cluster there (ray start --head), "
        "or leave executor.address out to start one on this machine"
    )
