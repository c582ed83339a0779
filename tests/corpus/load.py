"""Reads the examples for one package: their source says `clew`, and its imports are those of the package asked for.

What the package does not have (yet) stands as a name that raises when it is used, so that only the examples that use it fail.
"""

import ast
import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

from corpus.harness import BY_NAME, Mark
from corpus.plain import plain

HERE: Final = Path(__file__).parent
FILES: Final = (
    "state",
    "channels",
    "control",
    "running",
    "subgraphs",
    "agents",
    "streams",
    "tokens",
    "policies",
    "memory",
    "drawings",
    "pauses",
    "within",
    "functional",
    "prebuilt",
    "stores",
)
WRITTEN_FOR: Final = "clew"


class Missing:
    """A name that the package does not have."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __getattr__(self, name: str) -> Any:
        raise ImportError(self.why)

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise ImportError(self.why)

    __getitem__ = __mro_entries__ = __call__


def examples(package: str) -> dict[str, Callable[..., Any]]:
    """Every example by name, `file.function`, as it is written for the package."""
    return {
        f"{stem}.{name}": found
        for stem in FILES
        for name, found in vars(_module(stem, package)).items()
        if isinstance(found, FunctionType) and hasattr(found, "corpus")
    }


def marks(package: str = WRITTEN_FOR) -> dict[str, Mark]:
    return {name: mark_of(found) for name, found in examples(package).items()}


def mark_of(found: Any) -> Mark:
    return found.corpus


def record(found: Callable[..., Any], face: str) -> Any:
    """What the example returns on this face, as plain JSON; where it does not come to its end, the error that it ended with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(found(BY_NAME[face]))
        except Exception as error:
            return {"did not run": f"{type(error).__name__}: {error}".partition("\n")[0][:200]}


def records(package: str) -> dict[str, dict[str, Any]]:
    """What every example returns, by face; `both` where the faces agree."""
    found: dict[str, dict[str, Any]] = {}
    for name, function in examples(package).items():
        faces = {face: record(function, face) for face in mark_of(function).faces}
        if len(faces) > 1 and faces["sync"] == faces["async"]:
            faces = {"both": faces["sync"]}
        found[name] = faces
    return found


def of_face(faces: dict[str, Any], face: str) -> Any:
    return faces["both"] if "both" in faces else faces[face]


def _module(stem: str, package: str) -> ModuleType:
    """The module `stem`, run anew with the package's imports. Known by name, as whoever resolves annotations asks for."""
    path = HERE / f"{stem}.py"
    tree = ast.parse(path.read_text(), str(path))
    module = ModuleType(f"corpus_on_{package}.{stem}")
    sys.modules[module.__name__] = module
    rest: list[ast.stmt] = []
    for line in tree.body:
        if isinstance(line, ast.ImportFrom) and (line.module or "").partition(".")[0] == WRITTEN_FOR:
            home = package + (line.module or "").removeprefix(WRITTEN_FOR)
            vars(module).update({name.asname or name.name: _find(home, name.name) for name in line.names})
        else:
            rest.append(line)
    tree.body = rest
    exec(compile(tree, str(path), "exec"), vars(module))
    return module


def _find(home: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(home), name)
    except (ImportError, AttributeError):
        return Missing(f"cannot import name {name!r} from {home!r}")
