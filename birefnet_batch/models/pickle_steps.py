"""What a checkpoint's pickle would do, judged step by step before torch follows it: tensors may be put together.

torch's `weights_only` runs no code of the file, yet calls what the file names with the arguments that it gives: a
bytearray or a storage of any size is allocated, and a tuple of tuples is hashed for years.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator

from birefnet_batch.models.file_text import shown

# A training's whole state, optimizer and average included, has 250 kB and 80,000 steps with our largest network.
MOST_BYTES = 2 << 20
_MOST_STEPS = 400_000
# Values in a tuple and in the tuples in it, which share what they hold: it is hashed and compared value by value.
_LARGEST_TUPLE = 1000
_CALLED = {
    "collections OrderedDict",
    # Of a schedule of learning rates, and of a shape that somebody kept.
    *("collections Counter", "torch Size"),
    *(
        f"torch._utils {name}"
        for name in (
            "_rebuild_tensor",
            "_rebuild_tensor_v2",
            "_rebuild_tensor_v3",
            "_rebuild_parameter",
            "_rebuild_parameter_with_state",
        )
    ),
}
# What torch.save writes and torch reads, less sets and objects.
_CONSTANTS = {
    *("NONE", "NEWFALSE", "NEWTRUE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
    *("SHORT_BINSTRING", "EMPTY_LIST", "EMPTY_DICT"),
}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


class StepError(Exception):
    """What a pickle would do that no checkpoint needs; half a sentence."""


def check_steps(data: bytes) -> None:
    """Judge a pickle by its opcodes; nothing of it is run, and nothing is allocated for what it claims.

    Raises:
        StepError: it does something else than put tensors and plain values into lists and mappings.
        ValueError: it is cut off or damaged.
    """
    if len(data) > MOST_BYTES:
        raise StepError(f"it has a pickle of {len(data):,} bytes, and at most {MOST_BYTES:,} are read")
    stack: list[object] = []
    memo: dict[int, object] = {}
    try:
        for name, argument in _steps(data):
            _take(name, argument, stack, memo)
    except (IndexError, KeyError):
        raise ValueError("its pickle is damaged") from None


def _steps(data: bytes) -> Iterator[tuple[str, object]]:
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if count >= _MOST_STEPS:
            raise StepError(f"its pickle has more than {_MOST_STEPS:,} steps")
        yield opcode.name, argument


def _take(name: str, argument: object, stack: list[object], memo: dict[int, object]) -> None:
    """Take one step. What is on the stack is known by what of it matters.

    A str is a name that may be called, an int the count of values that a tuple unfolds to, None anything else.
    """
    if name in ("PROTO", "STOP"):
        return
    if name == "GLOBAL":
        stack.append(_allowed(str(argument)))
    elif name in ("BINPUT", "LONG_BINPUT"):
        assert isinstance(argument, int)
        memo[argument] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET"):
        assert isinstance(argument, int)
        stack.append(memo[argument])
    elif name == "MARK":
        stack.append(_MARK)
    elif name in _CONSTANTS:
        stack.append(None)
    elif name == "TUPLE":
        stack.append(_unfolded(_to_mark(stack)))
    elif name in _TUPLES:
        count = _TUPLES[name]
        stack.append(_unfolded([stack.pop() for _ in range(count)]))
    elif name in _ACTIONS:
        _ACTIONS[name](stack)
    else:
        raise StepError(f"its pickle has a {name}, which torch.save does not write")


def _allowed(name: str) -> str | None:
    """The name where it may be called, None where it may only be mentioned: a type of storage or of number."""
    if name in _CALLED:
        return name
    module, _, last = name.partition(" ")
    if module in ("torch", "torch.storage") and last.endswith("Storage"):
        return None
    if module == "torch" and last.startswith(("float", "bfloat", "int", "uint", "bool", "complex")):
        return None
    raise StepError(f"it asks for {shown(name.replace(' ', '.'))}")


def _unfolded(values: list[object]) -> int:
    count = 1 + sum(value if isinstance(value, int) else 1 for value in values)
    if count > _LARGEST_TUPLE:
        raise StepError(f"its pickle has a tuple of more than {_LARGEST_TUPLE:,} values")
    return count


def _to_mark(stack: list[object]) -> list[object]:
    taken = []
    while (value := stack.pop()) is not _MARK:
        taken.append(value)
    return taken


def _call(stack: list[object]) -> None:
    stack.pop()
    if stack[-1] not in _CALLED:
        raise StepError("its pickle calls what makes no tensor")
    stack[-1] = None


def _drop(count: int) -> Callable[[list[object]], None]:
    def drop(stack: list[object]) -> None:
        for _ in range(count):
            stack.pop()

    return drop


def _storage(stack: list[object]) -> None:
    stack[-1] = None


_ACTIONS: dict[str, Callable[[list[object]], object]] = {
    "REDUCE": _call,
    "BINPERSID": _storage,
    "BUILD": _drop(1),
    "APPEND": _drop(1),
    "SETITEM": _drop(2),
    "APPENDS": _to_mark,
    "SETITEMS": _to_mark,
}
