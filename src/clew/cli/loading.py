"""Finding a graph that a user names on the command line: `app.py:graph`, or `package.module:graph`."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from clew.errors import ClewError
from clew.graph.compiled import CompiledStateGraph
from clew.graph.state import StateGraph


class NotLoaded(ClewError):
    """The graph could not be loaded."""


def load_graph(target: str) -> CompiledStateGraph:
    """The graph of this name: compiled, to be compiled, or what a function of that name returns.

    Raises:
        NotLoaded: with what was found, and what to type.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise NotLoaded(f"{target!r} names no graph: expected a file or module and the graph in it, such as app.py:graph.")
    module = _module(place)
    if not hasattr(module, name):
        graphs = sorted(key for key, value in vars(module).items() if isinstance(value, CompiledStateGraph | StateGraph))
        raise NotLoaded(f"{place} has no {name!r}. The graphs in it are {graphs}.")
    found: Any = getattr(module, name)
    if callable(found) and not isinstance(found, CompiledStateGraph | StateGraph):
        found = _run(lambda: found(), f"{name}() in {place}")
    if isinstance(found, StateGraph):
        found = _run(lambda: found.compile(), f"Compiling {name} of {place}")
    if not isinstance(found, CompiledStateGraph):
        raise NotLoaded(f"{target!r} is {found!r}: expected a graph, or a function without arguments that returns one.")
    return cast("CompiledStateGraph", found)


def _module(place: str) -> ModuleType:
    path = Path(place)
    if path.suffix != ".py":
        sys.path.insert(0, "")
        return _run(lambda: importlib.import_module(place), f"Importing {place}")
    if not path.exists():
        raise NotLoaded(f"There is no file {place!r} here.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    sys.modules[path.stem] = module  # as the types it defines are known by it
    sys.path.insert(0, str(path.parent))
    _run(lambda: loader.exec_module(module), f"Importing {place}")
    return module


def _run(job: Any, what: str) -> Any:
    """Runs code of the user; what it raises is shown as they would see it, from their own file on."""
    try:
        return job()
    except Exception as error:
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        raise NotLoaded(f"{what} failed:\n{''.join(lines[-3:]).rstrip()}") from error
