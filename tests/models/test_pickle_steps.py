"""What a checkpoint's pickle would do is judged by its opcodes, however they are cut or forged."""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict
from contextlib import suppress

import pytest
import torch

from birefnet_batch.models.pickle_steps import StepError, check_steps


def pickle_of(value: object) -> bytes:
    """What torch.save writes of it beside the tensors' bytes."""
    file = io.BytesIO()
    torch.save(value, file)
    with zipfile.ZipFile(file) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def test_what_trainings_save_passes():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    halves = [torch.zeros(1, dtype=kind) for kind in (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.uint16)]
    extra = torch.nn.Parameter(torch.ones(1))
    extra.no_decay = True  # type: ignore[attr-defined]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4]).state_dict()
    saved = OrderedDict(
        schedule=schedule,
        size=extra.shape,
        model=network.state_dict(),
        optimizer=optimizer.state_dict(),
        epoch=3,
        loss=0.5,
        best=None,
    )
    check_steps(pickle_of({**saved, "halves": halves, "weight": extra, "own": list(network.parameters())}))


def test_a_pickle_cut_off_anywhere_is_refused_and_never_raises_anything_else():
    whole = pickle_of({"x": torch.zeros(2), "y": [1, (2, 3)]})
    check_steps(whole)
    for length in range(len(whole)):
        with pytest.raises((StepError, ValueError)):
            check_steps(whole[:length])


def test_an_opcode_in_place_of_another_never_raises_anything_else():
    whole = pickle_of({"x": torch.zeros(2), "y": [1, (2, 3)]})
    for place in range(0, len(whole), 3):
        for value in range(0, 256, 5):
            with suppress(StepError, ValueError):
                check_steps(whole[:place] + bytes([value]) + whole[place + 1 :])


def test_what_is_only_mentioned_is_not_called_by_way_of_the_memo():
    calls = b"\x80\x02ctorch.storage\nUntypedStorage\nq\x000h\x00K\x09\x85R."
    with pytest.raises(StepError, match=r"POP, which torch\.save does not write"):
        check_steps(calls)
    with pytest.raises(StepError, match="calls what makes no tensor"):
        check_steps(calls.replace(b"q\x000", b"q\x00"))
