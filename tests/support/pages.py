"""Documentation as something that runs: the python blocks of a page, in order, in one namespace."""

import ast
import asyncio
import builtins
import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import FunctionType
from typing import Any

BLOCK = re.compile(r"^```python([^\n]*)\n(.*?)^```(?:\n+```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
ROOT = Path(__file__).parents[2]


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each block that is to be run; those marked `no-run` are for reading."""
    return ((line, text) for line, text, _ in cells(page))


def cells(page: Path) -> Iterator[tuple[int, str, str | None]]:
    """Blocks, each with what the `text` block right after it says that it prints."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        if "no-run" not in found[1]:
            yield text.count("\n", 0, found.start()) + 2, found[2], found[3]


def of_langgraph(page: Path) -> str:
    """The blocks that LangGraph runs before the page does, as one program; empty on nearly every page."""
    return "\n".join(found[2] for found in BLOCK.finditer(page.read_text()) if "no-run langgraph" in found[1])


def run(page: Path, servers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Runs the page and returns the names it has made. `await` may stand anywhere, as in a notebook.

    Args:
        servers: URLs of real servers, by those that stand for them on the page.

    Raises:
        AssertionError: a block prints something else than the page shows.
    """
    names: dict[str, Any] = {"__name__": "page", "__builtins__": builtins}

    async def all_cells() -> None:
        for line, text, shown in cells(page):
            for example, real in (servers or {}).items():
                text = text.replace(example, real)
            tree = ast.increment_lineno(ast.parse(text), line - 1)
            code = compile(tree, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            with redirect_stdout(StringIO()) as printed:
                returned = FunctionType(code, names)()
                if inspect.isawaitable(returned):
                    await returned
            print(printed.getvalue(), end="")
            if shown is not None:
                assert _lines(printed.getvalue()) == _lines(shown), f"{page.name}:{line} prints something else than it shows"

    asyncio.run(all_cells())
    return names


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]
