"""The command: runs every example on a package and prints what its user sees, or compares the two packages.

python tests/corpus/run.py clew|langgraph      one JSON document, examples in their order
python tests/corpus/run.py compare [--record]  in the bench's environment: a table of both; `--record` keeps LangGraph's records
"""

import argparse
import json
import os
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
RECORDING: Final = Path(__file__).with_name("langgraph.json")
# Not this folder: its `plain` and `load` are `corpus.plain` and `corpus.load`.
sys.path[:] = [str(ROOT / "tests"), str(ROOT / "bench"), *(one for one in sys.path if Path(one).resolve() != RECORDING.parent)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="corpus", description="Example graphs on Clew and on LangGraph.")
    parser.add_argument("what", choices=("clew", "langgraph", "compare"))
    parser.add_argument("--record", action="store_true", help=f"keep LangGraph's records in {RECORDING.name}")
    arguments = parser.parse_args()
    if arguments.what == "compare":
        environment: Any = import_module("environment")  # the bench's
        if not environment.inside():
            environment.enter(sys.argv[1:], Path(__file__).resolve())
        return compare(record=arguments.record)
    print(document(arguments.what))
    return 0


def document(package: str, found: dict[str, Any] | None = None) -> str:
    """One line for each example: what has changed is seen in a diff."""
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
    if found is None:
        from corpus.load import records

        found = records(package)
    made = {name: metadata.version(name) for name in (package, "langchain-core")}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(faces, ensure_ascii=False)}" for name, faces in found.items())
    return f'{{\n "made with": {json.dumps(made)},\n "examples": {{\n{lines}\n }}\n}}'


def compare(*, record: bool) -> int:
    """Prints the table and returns how many examples differ that should not."""
    from corpus.load import records
    from corpus.verdict import table

    theirs, ours = records("langgraph"), records("clew")
    if record:
        RECORDING.write_text(document("langgraph", theirs) + "\n")
    lines, wrong = table(theirs, ours)
    print("\n".join(lines))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
