"""Documentation as something that runs: the python blocks of a page, in order, in one namespace."""

import ast
import asyncio
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

BLOCK = re.compile(r"^```python([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROOT = Path(__file__).parents[2]


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each block that is to be run; those marked `no-run` are for reading."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        if "no-run" not in found[1]:
            yield text.count("\n", 0, found.start()) + 2, found[2]


def run(page: Path) -> dict[str, Any]:
    """Runs the page and returns the names it has made. `await` may stand anywhere, as in a notebook."""
    names: dict[str, Any] = {"__name__": "page"}

    async def cells() -> None:
        for line, text in blocks(page):
            tree = ast.increment_lineno(ast.parse(text), line - 1)
            code = compile(tree, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            returned = FunctionType(code, names)()
            if inspect.isawaitable(returned):
                await returned

    asyncio.run(cells())
    return names
