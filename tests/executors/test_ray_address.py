"""An address where no cluster is, or can be, is told at once."""

from __future__ import annotations

import socket
import time

import pytest
from servers import free_port

from birefnet_batch.errors import ConfigError
from birefnet_batch.executors.ray_address import check_address, check_own_address


def test_an_address_where_nobody_answers_is_one_clear_error_at_once() -> None:
    port, began = free_port(), time.monotonic()
    with pytest.raises(ConfigError, match=rf"executor.address=127.0.0.1:{port} cannot be joined: nobody answers there"):
        check_address(f"127.0.0.1:{port}")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "no-such-host.invalid:6379", f"{'a' * 70}.b:6379"])
def test_an_address_that_cannot_be_is_the_same_error(address: str) -> None:
    with pytest.raises(ConfigError, match="cannot be joined: nobody answers there"):
        check_address(address)


def test_what_answers_and_what_is_for_ray_to_find_passes() -> None:
    check_address("auto")
    check_address("local")
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_address(f"127.0.0.1:{server.getsockname()[1]}")


def test_the_client_of_ray_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match="executor.address=auto"):
        check_address("ray://127.0.0.1:10001")


@pytest.mark.parametrize("address", ["http://head:8265", "http://localhost:8265", "https://me:secret@head:8265"])
def test_the_address_of_a_dashboard_is_refused_with_the_kind_that_is_wanted(address: str) -> None:
    with pytest.raises(
        ConfigError,
        match=r"`ray job submit --address` takes; give HOST:PORT of the head .*, or auto where no RAY_ADDRESS",
    ) as told:
        check_address(address)
    assert "secret" not in str(told.value)


def test_a_machine_that_does_not_reach_itself_starts_no_ray_and_says_why_at_once() -> None:
    check_own_address("127.0.0.1")
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"cannot start Ray .* reach each other at 203\.0\.113\.7 .*link set lo up"):
        check_own_address("203.0.113.7")
    assert time.monotonic() - began < 5
