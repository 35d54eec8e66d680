"""docs/architecture.md has a word for every module, and the rule of imports that it states holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "birefnet_batch"
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
KNOWS_NO_JOB = ("settings", "models", "engines", "storage", "video", "matting")
KNOWS_JOBS = re.compile(
    r"birefnet_batch\.(request|jobs|pipeline|executors|batch|app|status_command|verify_command|contact_sheet)\b"
)


def section(room: str) -> str:
    """What the page says of a room: from the paragraph that begins with its name to the next such one."""
    found = re.search(rf"^`{room}/`.*?(?=^`\w+/`|^## )", PAGE, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def imported(path: Path, *, at_the_top: bool) -> Iterator[str]:
    """The modules of ours that a module imports, but for those that only a type checker does."""
    waiting: list[ast.AST] = list(ast.parse(path.read_text("utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            names = {f"{node.module}.{name.name}" for name in node.names}
            yield from names & MODULES.keys() or {node.module}
        elif not (at_the_top and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
            waiting += ast.iter_child_nodes(node)


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_of_a_room_has_its_word(room: str) -> None:
    said = section(room)
    modules = [path.stem for path in (PACKAGE / room).rglob("*.py") if path.stem != "__init__"]
    assert [name for name in modules if f"`{name}`" not in said] == []


def test_every_module_outside_of_rooms_has_its_word_and_none_of_the_list_is_gone() -> None:
    listed = set(re.findall(r"\b(\w+)\.py\b", PAGE.split("```")[1]))
    assert listed == {path.stem for path in PACKAGE.glob("*.py")}


def test_imports_form_no_circle() -> None:
    graph = {name: set(imported(path, at_the_top=True)) - {name} for name, path in MODULES.items()}
    # A CycleError names the modules.
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("room", KNOWS_NO_JOB)
def test_rooms_below_jobs_import_nothing_that_knows_them(room: str) -> None:
    found = {
        f"{path.stem} -> {name}"
        for path in (PACKAGE / room).rglob("*.py")
        for name in imported(path, at_the_top=False)
        if KNOWS_JOBS.match(name)
    }
    assert found == set()
