"""The size gate: no function over 60 lines (its docstring not counted), no file over 400, the core within 4,610 of code.

The core is everything below `graph/` (DESIGN §2). Docstrings, comments and blank lines are not counted (ADRs 7 to 21).

A comment `# size: why` on the line of the `def`, or on the first line of a file, waives it; the reason is the point.
"""

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

FUNCTION, FILE, CORE = 60, 400, 4610
CORE_FILES = ("types", "constants", "errors", "ids", "channels", "schema", "managed", "config", "engine/*", "runtime/*")
BLANK = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


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


def code_lines(path: Path) -> int:
    """How many lines hold code: no docstrings, comments and blank lines."""
    text = path.read_text()
    words = {
        line
        for node in ast.walk(ast.parse(text, str(path)))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in BLANK]
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - words)


def main(folders: list[str]) -> int:
    found = [line for folder in folders for path in sorted(Path(folder).rglob("*.py")) for line in offenders(path)]
    core = sum(code_lines(path) for pattern in CORE_FILES for path in Path("src/clew").glob(f"{pattern}.py"))
    if core > CORE:
        found.append(f"src/clew: the core has {core} lines of code (limit {CORE})")
    for line in found:
        print(line)
    print(f"sizes: {len(found)} too long" if found else "sizes: all within bounds")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
