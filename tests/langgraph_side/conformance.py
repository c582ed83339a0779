"""Runs LangGraph's own conformance kit on a Clew saver and prints, as JSON, what of each capability passed and what did not."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from importlib import import_module
from typing import Any

from support_savers import opened

from clew.interop.langgraph import as_langgraph_saver

kit: Any = import_module("langgraph.checkpoint.conformance")  # installed where this runs, and not where it is checked


async def clew() -> AsyncGenerator[Any]:
    with opened(*sys.argv[1:]) as saver:
        yield as_langgraph_saver(saver)


async def main() -> None:
    report = await kit.validate(kit.checkpointer_test(name="clew")(clew))
    print(json.dumps({name: [found.tests_passed, found.failures] for name, found in report.results.items()}))


asyncio.run(main())
