"""The house itself: what is public, that both faces match, that the gates hold something back."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from support.pages import ROOT

import clew
from clew import errors
from clew.graph.compiled import CompiledStateGraph

PUBLIC = {
    "clew": ["__version__", "reducer", "register"],
    "clew.graph": ["END", "START", "MessagesState", "StateGraph", "add_messages"],
    "clew.testing": ["Crash", "ScriptedHost", "crash_everywhere"],
}


@pytest.mark.parametrize("module", PUBLIC)
def test_what_is_public_is_meant_to_be(module: str) -> None:
    found = importlib.import_module(module)
    assert found.__all__ == PUBLIC[module]
    assert all(getattr(found, name) is not None for name in found.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'clew' has no attribute 'nope'"):
        _ = clew.nope  # pyright: ignore


@pytest.mark.parametrize("verb", ["invoke", "stream", "batch", "get_state", "get_state_history"])
def test_both_faces_of_a_verb_take_the_same(verb: str) -> None:
    plain, awaited = (inspect.signature(getattr(CompiledStateGraph, name)).parameters for name in (verb, f"a{verb}"))
    assert plain == awaited


def test_every_error_stands_in_the_tree_with_a_message_of_its_own() -> None:
    tree = errors.__doc__ or ""
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.ClewError):
            assert name in tree
            assert kind.__doc__
    assert str(errors.ThreadConflict()).startswith("Another run moved this thread on first")


def sizes(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / "tools" / "sizes.py", folder], capture_output=True, text=True)


LONG = "\n".join(f"    x{i} = {i}" for i in range(61))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"def f():\n{LONG}\n", "f 62 lines (limit 60)"),
        (f"def f():  # size: a table\n{LONG}\n", None),
        ('def f():\n    """' + "doc\n" * 80 + '    """\n    return 1\n', None),
        ("x = 1\n" * 401, "401 lines (limit 400)"),
        ("# size: generated\n" + "x = 1\n" * 401, None),
    ],
)
def test_the_size_gate_holds_what_is_too_long(tmp_path: Path, text: str, found: str | None) -> None:
    (tmp_path / "module.py").write_text(text)
    result = sizes(tmp_path)
    assert result.returncode == (found is not None)
    assert (found or "all within bounds") in result.stdout


def test_the_layers_hold_a_late_import_back(tmp_path: Path) -> None:
    """The contracts of this project, over a copy of it in which the engine imports what is above it, late."""
    import shutil

    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    linter = Path(sys.executable).parent / "lint-imports"

    def lint() -> subprocess.CompletedProcess[str]:
        env = {"PYTHONPATH": str(tmp_path / "src"), "PATH": "/usr/bin:/bin"}
        return subprocess.run([linter, "--no-cache"], cwd=tmp_path, env=env, capture_output=True, text=True)

    assert lint().returncode == 0, lint().stdout
    with (tmp_path / "src" / "clew" / "engine" / "apply.py").open("a") as file:
        file.write("\n\ndef late() -> None:\n    from clew.runtime import loop\n\n    del loop\n")
    broken = lint()
    assert broken.returncode == 1
    assert "clew.engine is not allowed to import clew.runtime" in broken.stdout
