"""The size gate: no function over 60 lines (its docstring not counted), no file over 400.

A comment `# size: why` on the line of the `def`, or on the first line of a file, waives it; the reason is the point.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FUNCTION, FILE = 60, 400


def offenders(path: Path) -> Iterator[str]:
    """A line for everything in the file that is too long."""
    text = path.read_text()
    lines = text.splitlines()
    if len(lines) > FILE and "# size:" not in lines[0]:
        yield f"{path}:1 {len(lines)} lines (limit {FILE})"
    for node in ast.walk(ast.parse(text, str(path))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1 - docstring_lines(node)
        if length > FUNCTION and "# size:" not in lines[node.lineno - 1]:
            yield f"{path}:{node.lineno} {node.name} {length} lines (limit {FUNCTION})"


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node) is None:
        return 0
    first = node.body[0]
    return (first.end_lineno or first.lineno) - first.lineno + 1


def main(folders: list[str]) -> int:
    found = [line for folder in folders for path in sorted(Path(folder).rglob("*.py")) for line in offenders(path)]
    for line in found:
        print(line)
    print(f"sizes: {len(found)} too long" if found else "sizes: all within bounds")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
