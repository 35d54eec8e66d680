"""What a worker reserves, and what is said when no node of a cluster has it."""

from __future__ import annotations

import pytest

from birefnet_batch.executors.ray_room import Reminder, Share, held_by_others, lacking

SHARE = Share(cpus=2, gpus=0.5, others=(("fast_disk", 1),))


def test_a_node_has_room_for_as_many_workers_as_its_scarcest_resource_allows() -> None:
    assert SHARE.fits({"CPU": 8, "GPU": 4, "fast_disk": 3}) == 3
    assert SHARE.fits({"CPU": 8, "GPU": 1, "fast_disk": 3}) == 2
    assert SHARE.fits({"CPU": 8, "GPU": 1}) == 0


def test_memory_is_reserved_as_ray_wants_it() -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed; pip install 'birefnet-batch[test]'")
    from ray._common.utils import resources_from_ray_options

    options = Share(cpus=2, gpus=0.5, others=(("memory", 8e9), ("fast_disk", 1.0))).options()
    ray.remote(Reminder).options(**options)
    assert resources_from_ray_options(options) == {"CPU": 2, "GPU": 0.5, "memory": 8_000_000_000, "fast_disk": 1.0}
    assert "memory" not in resources_from_ray_options(SHARE.options())


def test_what_is_lacking_is_said_with_what_is_asked_for_and_what_nodes_have() -> None:
    head, plain = {"CPU": 0.0}, {"CPU": 4.0, "GPU": 1.0}
    said = lacking(SHARE, [head, plain, plain])
    assert said is not None
    assert "which reserves 2 CPU, 0.5 GPU, 1 fast_disk" in said
    assert "GPU: executor.gpus_per_worker" in said
    assert "fast_disk: executor.resources.fast_disk" in said
    assert "2 nodes have 4 CPU, 1 GPU, 0 fast_disk" in said
    assert "1 node has 0 CPU, 0 GPU, 0 fast_disk" in said
    assert "there are no nodes" in str(lacking(SHARE, []))
    assert lacking(SHARE, [head, {**plain, "fast_disk": 1.0}]) is None


def test_what_a_runs_own_workers_may_have_is_not_said_to_be_others() -> None:
    nodes = [{"CPU": 0.0}, {"CPU": 6.0, "GPU": 2.0, "fast_disk": 4.0}]
    assert held_by_others(SHARE, 2, nodes, {"CPU": 2.0, "GPU": 1.0, "fast_disk": 2.0}) is None
    # One of two waits for its place: less is taken than both would have.
    assert held_by_others(SHARE, 2, nodes, {"CPU": 4.0, "GPU": 1.5, "fast_disk": 3.0}) is None
    assert held_by_others(SHARE, 1, nodes, {"CPU": 1.0, "GPU": 1.0, "fast_disk": 3.0}) == "3 CPU, 0.5 GPU"


def test_what_lasts_is_said_once_and_then_every_minute() -> None:
    reminder = Reminder()
    assert [now for now in range(0, 130, 10) if reminder.due(True, now)] == [0, 60, 120]
    assert not reminder.due(False, 130)
    assert reminder.due(True, 131), "what comes again is said at once"
