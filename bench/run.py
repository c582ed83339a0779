"""The command: reads the arguments, enters the bench's own environment, runs the parts asked for, writes what was found.

python bench/run.py [--quick] [--only PART ...] [--json FILE] [--against FILE] [--publish]
"""

import argparse
import importlib
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import environment

PARTS = {
    "import": "parts.imports:suite",
    "compile": "parts.engines:compiles",
    "one": "parts.engines:one_nodes",
    "step": "parts.chains:suite",
    "wide": "parts.engines:wides",
    "fan": "parts.engines:fans",
    "agent": "parts.engines:agents",
    "chat": "parts.chats:suite",
    "crowd": "parts.crowds:suite",
    "stream": "parts.streams:states_read",
    "tokens": "parts.streams:tokens_read",
}
"""In the order in which they run: a module, and what runs the part and shows it."""
ON_POSTGRES = {"step", "chat", "crowd"}
PACKAGES = ("clew", "langgraph")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Clew beside LangGraph, taking turns in one run.")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="these parts instead of all")
    parser.add_argument("--quick", action="store_true", help="fewer repeats and cases, and LangGraph's chats end early")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there, too")
    parser.add_argument("--publish", action="store_true", help="write docs/bench anew: tables, medians, charts")
    parser.add_argument("--against", type=Path, metavar="FILE", help="list what is worse than in an earlier results.json")
    parser.add_argument("--ours", choices=PACKAGES, default="clew", help="the first side (default: %(default)s)")
    parser.add_argument("--theirs", choices=PACKAGES, default="langgraph", help="the second side (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.publish and (arguments.only or arguments.quick):
        parser.error("--publish goes with all parts, and not with --quick")
    return arguments


def main() -> None:
    arguments = read_arguments()
    if not environment.inside():
        environment.enter(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server and the processes end as well
    import postgres
    from measure import Record, Sides
    from report import Progress, show_facts, show_goals, write_json
    from workloads import FLOOR, POSTGRES

    chosen = [part for part in PARTS if arguments.only is None or part in arguments.only]
    facts = environment.facts()
    if ON_POSTGRES.intersection(chosen):
        facts["postgresql"] = postgres.version()
    show_facts(facts)
    results: list[Record] = []
    progress = Progress()
    with ExitStack() as stack:
        if ON_POSTGRES.intersection(chosen):
            os.environ[POSTGRES] = stack.enter_context(postgres.server((*PACKAGES, FLOOR)))
        sides = stack.enter_context(Sides(arguments.ours, arguments.theirs))
        for part in chosen:
            module, suite = PARTS[part].split(":")
            results += getattr(importlib.import_module(module), suite)(sides, progress, quick=arguments.quick)
    show_goals(results)
    if arguments.json:
        write_json(arguments.json, facts, results)
    if arguments.against:
        import against

        against.show(arguments.against, results)
    if arguments.publish:
        import pages

        pages.publish(facts, results, {"ours": arguments.ours, "theirs": arguments.theirs, "floor": FLOOR})


if __name__ == "__main__":
    main()
