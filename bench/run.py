"""The command: reads the arguments, enters the bench's own environment, runs the parts asked for, writes what was found.

python bench/run.py [--quick] [--only import|step|chat|tokens] [--json FILE]
"""

import argparse
import sys
from pathlib import Path

import environment

PARTS = ("import", "step", "chat", "tokens")
PACKAGES = ("clew", "langgraph")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Clew beside LangGraph, taking turns in one run.")
    parser.add_argument("--only", choices=PARTS, help="one part instead of all")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, and LangGraph's chat ends at turn 100")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there, too")
    parser.add_argument("--ours", choices=PACKAGES, default="clew", help="the first side (default: %(default)s)")
    parser.add_argument("--theirs", choices=PACKAGES, default="langgraph", help="the second side (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    if not environment.inside():
        environment.enter(sys.argv[1:])
    from measure import Record, Sides
    from report import Progress, show_facts, write_json
    from suites import chats, imports, steps, tokens_read

    facts = environment.facts()
    show_facts(facts)
    results: list[Record] = []
    progress = Progress()
    with Sides(arguments.ours, arguments.theirs) as sides:
        for part, suite in zip(PARTS, (imports, steps, chats, tokens_read), strict=True):
            if arguments.only in (None, part):
                results += suite(sides, progress, quick=arguments.quick)
    if arguments.json:
        write_json(arguments.json, facts, results)


if __name__ == "__main__":
    main()
