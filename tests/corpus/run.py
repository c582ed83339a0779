"""The command: runs every example on a package and prints what its user sees, or compares the two packages.

python tests/corpus/run.py clew|langgraph      one JSON document, a line for each example, in their order
python tests/corpus/run.py compare [--record]  in the bench's environment: a table of both; `--record` keeps LangGraph's records
python tests/corpus/run.py diff NAME           what one example gives on Clew, against the recording
python tests/corpus/run.py pending             lists anew, in pending.txt, what Clew does not do as it should
"""

import argparse
import json
import os
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
RECORDING: Final = HERE / "langgraph.json"
# Not this folder: its modules are `corpus.…`.
sys.path[:] = [str(HERE.parent), str(HERE.parents[1] / "bench"), *(one for one in sys.path if Path(one).resolve() != HERE)]
os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="corpus", description="Example graphs on Clew and on LangGraph.")
    parser.add_argument("what", choices=("clew", "langgraph", "compare", "diff", "pending"))
    parser.add_argument("name", nargs="?", help="for `diff`: an example, such as memory.replay")
    parser.add_argument("--record", action="store_true", help=f"keep LangGraph's records in {RECORDING.name}")
    arguments = parser.parse_args()
    if arguments.what == "compare":
        environment: Any = import_module("environment")  # the bench's
        if not environment.inside():
            environment.enter(sys.argv[1:], Path(__file__).resolve())
        return compare(record=arguments.record)
    if arguments.what == "diff":
        from corpus.verdict import difference

        lines = difference(arguments.name, json.loads(RECORDING.read_text())["examples"][arguments.name])
        print("\n".join(lines) or "no difference")
        return bool(lines)
    from corpus.load import records

    if arguments.what == "pending":
        list_pending(records("clew"))
    else:
        print(document(arguments.what, records(arguments.what)))
    return 0


def document(package: str, found: dict[str, dict[str, Any]]) -> str:
    """One line for each example, so that what has changed is seen in a diff."""
    made = {name: metadata.version(name) for name in (package, "langchain-core")}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(faces, ensure_ascii=False)}" for name, faces in found.items())
    return f'{{\n "made with": {json.dumps(made)},\n "examples": {{\n{lines}\n }}\n}}'


def compare(*, record: bool) -> int:
    """Prints the table; 1 where an example differs that should not."""
    from corpus import verdict
    from corpus.load import records

    theirs, ours = records("langgraph"), records("clew")
    if record:
        RECORDING.write_text(document("langgraph", theirs) + "\n")
    print("\n".join(verdict.table(theirs, ours)))
    return bool(verdict.wrong(theirs, ours).keys() - verdict.pending())


def list_pending(ours: dict[str, dict[str, Any]]) -> None:
    from corpus import verdict

    names = verdict.wrong(json.loads(RECORDING.read_text())["examples"], ours)
    verdict.PENDING.write_text("".join(f"{name}\n" for name in names))
    print(f"{len(names)} pending")


if __name__ == "__main__":
    sys.exit(main())
