"""Checkpoints that torch.save wrote, read without running what they say."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birefnet_batch.models.file_text import listed, shown
from birefnet_batch.models.pickle_steps import MOST_BYTES, StepError, check_steps
from birefnet_batch.refusals import one_line

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".pth", ".pt")
# Where training scripts keep the network among other things.
_WRAPPERS = ("state_dict", "model", "model_state_dict")
_PICKLE = "data.pkl"
_MOST_SAID = 160


class PickledError(Exception):
    """What is wrong with a file; half a sentence."""


def read_pickled(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, mapped from the file: nothing is allocated yet.

    Raises:
        PickledError: it is none, or it holds more than tensors.
        OSError: it cannot be read.
    """
    import torch

    _check_archive(path)
    try:
        check_steps(_pickle_in(path))
        data: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (StepError, pickle.UnpicklingError) as error:
        raise PickledError(
            f"it holds more than tensors, and only tensors are loaded, because anything else may run code or take "
            f"all memory ({_reason(error)})"
        ) from None
    except (
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        OverflowError,
        AssertionError,
    ) as error:
        raise PickledError(f"torch cannot read it ({_reason(error)})") from None
    _strip(data)
    if isinstance(data, Mapping):
        data = next((data[name] for name in _WRAPPERS if isinstance(data.get(name), Mapping)), data)
    _strip(data)
    if not isinstance(data, Mapping):
        raise PickledError(f"it holds a {type(data).__name__} and not a mapping of tensors by name")
    others = [str(name) for name, value in data.items() if not (isinstance(name, str) and _plain(value))]
    if others:
        raise PickledError(f"not all that it holds are tensors: {listed(others)}")
    return {name: torch.Tensor.detach(value) for name, value in data.items()}


def _strip(value: Any) -> None:
    """Drop attributes that the file gave a mapping: they would stand in place of its methods."""
    if isinstance(value, OrderedDict | Counter):
        vars(value).clear()


def _plain(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"


def _check_archive(path: Path) -> None:
    """Refuse what is no archive of torch.save, or would be larger unpacked than it is."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise PickledError(f"it is no archive as torch.save writes it ({str(error).lower()})") from None
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise PickledError("its members are compressed, which torch.save does not do")
    claimed = sum(member.file_size for member in members)
    if claimed > size:
        raise PickledError(f"it claims {claimed:,} bytes of tensors in a file of {size:,}")


def _pickle_in(path: Path) -> bytes:
    """What torch will follow, found by torch: another reader may find another one in a forged archive."""
    import torch

    reader = torch._C.PyTorchFileReader(str(path))
    size = reader.get_record_size(_PICKLE)
    if size > MOST_BYTES:
        raise StepError(f"its pickle has {size:,} bytes, and at most {MOST_BYTES:,} are read")
    return reader.get_record(_PICKLE)


def _reason(error: Exception) -> str:
    """What torch says, without its advice to load the file anyway."""
    text = one_line(error)
    named = re.search(r"GLOBAL (\S+)", text)
    if named:
        return f"it asks for {shown(named[1])}"
    said = (text.partition("WeightsUnpickler error: ")[2] or text).partition(". ")[0]
    return shown(said, _MOST_SAID) or type(error).__name__
