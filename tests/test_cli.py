"""The command line as a user types it: real processes, real files."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, TypedDict

import pytest
from support.pages import ROOT

from clew.checkpoint.sqlite import SqliteSaver
from clew.cli import opening
from clew.cli.models import scripted
from clew.cli.opening import open_saver
from clew.errors import MissingDependency
from clew.graph import START, StateGraph
from clew.types import interrupt


def clew(*arguments: str, given: str = "", cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clew.cli", *arguments],
        input=given,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", **env},
        timeout=60,
    )


@pytest.fixture(scope="session")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a conversation, made once."""
    folder = tmp_path_factory.mktemp("chat")
    found = clew("chat", "--say", "hi! I'm bob", "--say", "what's my name?", cwd=folder)
    assert found.returncode == 0, found.stderr
    assert "Your name is Bob" in found.stdout
    return folder


@pytest.fixture
def chatted(chat: Path, tmp_path: Path) -> Path:
    """A folder of one's own with that database in it."""
    shutil.copytree(chat, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.slow
def test_the_demo_tells_the_story_in_three_processes(tmp_path: Path) -> None:
    found = clew("demo", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    first, second, third, kept = re.split(r"(?:Process \d, thread \d|What was kept of thread 1) ─+", found.stdout)[1:]
    assert "Human Message" in first
    assert "Hello Bob!" in first
    assert "Your name is Bob" in second
    assert "I don't know your name" in third
    assert "Bob" not in third
    assert re.search(r"All 9 checkpoints of 2 threads are kept in [\d,]+ bytes", kept.replace("\n", " "))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_conversation_goes_on_in_another_process_and_another_thread_knows_nothing(chatted: Path) -> None:
    assert "Your name is Bob" in clew("chat", given="what's my name?\nexit\n", cwd=chatted).stdout
    other = clew("chat", "--thread", "2", given="what's my name?\n", cwd=chatted).stdout
    assert "a new conversation" in other
    assert "I don't know your name" in other


@pytest.mark.slow
def test_threads_history_and_show(chatted: Path) -> None:
    assert re.search(r"1 +│ +6 │", clew("threads", cwd=chatted).stdout)
    history = clew("history", "1", "--limit", "2", cwd=chatted).stdout
    assert "ai: Your name is Bob" in history
    assert "input" not in history
    newest, second = (clew("show", "1", *which, cwd=chatted).stdout for which in ([], ["2"]))
    assert "what's my name?" in newest
    assert "what's my name?" not in second
    assert "step 0 (loop)" in second
    by_id = re.search(r"checkpoint ([\w-]{36})", second)
    assert by_id
    assert clew("show", "1", by_id[1], cwd=chatted).stdout == second


@pytest.mark.slow
def test_a_question_that_waits_is_shown_as_one(tmp_path: Path) -> None:
    class Order(TypedDict, total=False):
        amount: int
        said: str

    def approve(state: Order) -> Order:
        return {"said": interrupt({"may I pay": state.get("amount")})}

    with SqliteSaver(tmp_path / "clew.db") as saver:
        graph = StateGraph(Order).add_node(approve).add_edge(START, "approve").compile(saver)
        graph.invoke({"amount": 7}, {"configurable": {"thread_id": "1"}})
    for shown in (clew("history", "1", cwd=tmp_path).stdout, clew("show", "1", cwd=tmp_path).stdout):
        assert "? {'may I pay': 7}" in shown
        assert "✗" not in shown


def test_branches_are_listed_with_where_they_left(tmp_path: Path) -> None:
    class Text(TypedDict, total=False):
        text: str

    def write(state: Text) -> Text:
        return {"text": "written"}

    with SqliteSaver(tmp_path / "clew.db") as saver:
        graph = StateGraph(Text).add_node(write).add_edge(START, "write").compile(saver)
        graph.invoke({"text": "in"}, {"configurable": {"thread_id": "1"}})
        start = list(graph.get_state_history({"configurable": {"thread_id": "1"}}))[1]
        graph.invoke(None, {**start.config, "metadata": {"branch": "second try"}})
    rows = [re.split(" *│ *", line)[1:-2] for line in clew("branches", "1", cwd=tmp_path).stdout.splitlines() if "│" in line]
    assert rows == [["second try (goes on)", "5", "2", "2"], ["main", "3", "", "3"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["threads", "--db", "nope.db"], "There is no database 'nope.db'"),
        (["history", "7"], "There is no thread '7' in 'clew.db'"),
        (["show", "7"], "There is no thread '7'"),
        (["branches", "7"], "There is no thread '7'"),
        (["show", "1", "77"], "Thread '1' has no checkpoint '77'"),
        (["threads", "--db", "notes.txt"], "'notes.txt' is not a SQLite database"),
        (["chat", "--db", "notes.txt", "--say", "x"], "'notes.txt' is not a SQLite database"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(chatted: Path, arguments: list[str], message: str) -> None:
    (chatted / "notes.txt").write_text("dear diary " * 50)
    found = clew(*arguments, cwd=chatted)
    assert found.returncode == 1
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    assert not (chatted / "nope.db").exists()


def test_a_real_model_without_langchain_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "langchain").mkdir()
    (tmp_path / "langchain" / "__init__.py").write_text("raise ImportError('not here')")
    found = clew("chat", "--model", "anthropic:x", "--say", "hi", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert found.returncode == 1
    assert "pip install langchain`" in found.stderr


@pytest.mark.slow
def test_a_real_model_remembers_in_another_process(anthropic: str, tmp_path: Path) -> None:
    model = "anthropic:claude-3-5-sonnet-20240620"
    assert "Hello Bob!" in clew("chat", "--model", model, "--say", "hi! I'm bob", cwd=tmp_path).stdout
    found = clew("chat", "--model", model, "--say", "what's my name?", cwd=tmp_path)
    assert "Your name is Bob" in found.stdout, found.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--model", "nobody:x"], "The model 'nobody:x' cannot be had"), (["--model", "mistralai:x"], "cannot be had")],
)
def test_a_model_that_cannot_be_had_is_said_in_a_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    found = clew("chat", *arguments, "--say", "hi", cwd=tmp_path)
    assert (found.returncode, "Traceback" in found.stderr) == (1, False)
    assert message in found.stderr


@pytest.mark.slow
def test_a_model_that_fails_does_not_end_the_conversation(tmp_path: Path) -> None:
    nowhere = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "ANTHROPIC_API_KEY": "x"}
    model = ["--model", "anthropic:claude-3-5-sonnet-20240620"]
    found = clew("chat", *model, given="hi! I'm bob\nstill there?\n", cwd=tmp_path, **nowhere)
    assert found.returncode == 0
    assert found.stderr.count("The model failed: ") == 2
    assert clew("chat", *model, "--say", "hi", cwd=tmp_path, **nowhere).returncode == 1
    assert "Your name is Bob" in clew("chat", "--say", "what's my name?", cwd=tmp_path).stdout


def test_without_its_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('No module named typer', name='typer')")
    found = clew("threads", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert found.returncode == 1
    assert 'pip install "clew[cli,langchain]"' in found.stderr


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (["I'm Ann"], "Hello Ann!"),
        (["my name is zoë", "what's my name?"], "Your name is Zoë,"),
        (["what's my name?"], "I don't know your name"),
        (["call me Al", "nice weather"], "I see, Al."),
    ],
)
def test_the_scripted_model_finds_the_name_in_what_it_reads(said: list[str], answer: str) -> None:
    class Said:
        type = "human"

        def __init__(self, content: str) -> None:
            self.content = content

    messages: list[Any] = [Said(text) for text in said]
    assert scripted(messages)[1].startswith(answer)


def test_make_lists_its_targets() -> None:
    found = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = ["help", "demo", "test", "check", "soak", "bench", "operations", "corpus", "docs", "clean"]
    assert re.findall(r"make (\w+)", found) == targets


# -- clew check -----------------------------------------------------------------------------------------------------

APP = """
from typing import TypedDict
from clew.checkpoint.sqlite import SqliteSaver
from clew.graph import START, StateGraph
from clew.types import interrupt

class State(TypedDict, total=False):
    text: str
    extra: int

def ask(state):
    return {"text": interrupt("well?")}

builder = StateGraph(State).add_node("ask", ask).add_edge(START, "ask")
graph = builder.compile()

def make():
    return builder
"""


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """A folder with an app, and a database in which a thread waits and one does not."""
    (tmp_path / "app.py").write_text(APP)
    names: dict[str, Any] = {}
    exec(APP, names)
    with SqliteSaver(tmp_path / "clew.db") as saver:
        graph = names["builder"].compile(saver)
        for thread in ("waits", "ended"):
            graph.invoke({"text": "in", "extra": 1}, {"configurable": {"thread_id": thread}})
        graph.update_state({"configurable": {"thread_id": "ended"}}, {"text": "by hand"}, "ask")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("target", ["app.py:graph", "app:graph", "app.py:builder", "app.py:make"])
def test_check_finds_nothing_where_nothing_breaks(target: str, deployed: Path) -> None:
    found = clew("check", target, cwd=deployed)
    assert (found.returncode, found.stderr) == (0, "")
    assert f"2 threads checked against {target}: ✓ none would break" in found.stdout


@pytest.mark.slow
def test_a_database_may_be_named_by_a_url(deployed: Path) -> None:
    assert clew("threads", "--db", "sqlite:///clew.db", cwd=deployed).stdout.count("waits") == 1
    for url in ("mysql://localhost/x", "sqlite://clew.db"):
        found = clew("threads", "--db", url, cwd=deployed)
        assert found.returncode == 2
        assert "is no database: expected" in found.stderr


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [("postgresql://x/y", "psycopg", "postgres"), ("rediss://x", "redis", "redis"), ("mongodb+srv://x", "pymongo", "mongodb")],
)
def test_a_backend_without_its_packages_says_what_to_install(
    url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [
        name
        for name in sys.modules
        if name.partition(".")[0] == package or name.startswith((f"clew.checkpoint.{extra}", f"clew.clients.{extra}"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # as Python marks what cannot be imported
    with pytest.raises(MissingDependency, match=rf"needs .*`pip install 'clew\[{extra}\]'`"):
        open_saver(url)


def test_a_password_is_not_shown() -> None:
    assert opening.shown("postgresql://ann:s3cret@db/threads") == "postgresql://ann:***@db/threads"
    assert opening.shown("redis://:s3cret@db") == "redis://:***@db"
    assert opening.shown("chats/clew.db") == "chats/clew.db"


@pytest.mark.slow
def test_check_tells_which_threads_break_and_what_to_do(deployed: Path) -> None:
    changed = APP.replace('"ask"', '"question"').replace("    extra: int", "    new: int")
    (deployed / "app.py").write_text(changed)
    found = clew("check", "app.py:graph", cwd=deployed)
    assert found.returncode == 1
    said = found.stdout
    assert "✗ waits is about to run 'ask' and waits for an answer there, which is not a node any more" in said
    assert "aliases=['ask']" in said
    assert "2 threads: keeps ['extra'], which the state does not have" in said
    assert "2 threads: has no ['new'] yet" in said
    assert "2 threads checked against app.py:graph: ✗ 1 would break" in said
    found = clew("check", "app.py:graph", "--json", cwd=deployed)
    assert found.returncode == 1
    listed = json.loads(found.stdout)
    assert [one["kind"] for one in listed["waits"]] == ["breaks", "note", "note"]
    assert [one["kind"] for one in listed["ended"]] == ["note", "note"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("app.py", "'app.py' names no graph: expected a file or module and the graph in it, such as app.py:graph."),
        ("gone.py:graph", "There is no file 'gone.py' here."),
        ("app.py:grpah", "app.py has no 'grpah'. The graphs in it are ['builder', 'graph']."),
        ("app.py:State", "expected a graph, or a function without arguments that returns one"),
        ("broken.py:graph", "Importing broken.py failed:"),
        ("nowhere:graph", "No module named 'nowhere'"),
    ],
)
def test_check_says_what_to_type(target: str, said: str, deployed: Path) -> None:
    (deployed / "broken.py").write_text("1 / 0")
    found = clew("check", target, cwd=deployed)
    assert found.returncode == 2
    assert said in found.stderr
    assert "Traceback (most" not in found.stderr


@pytest.mark.slow
def test_check_never_makes_a_database(deployed: Path) -> None:
    found = clew("check", "app.py:graph", "--db", "other.db", cwd=deployed)
    assert found.returncode == 1
    assert "There is no database 'other.db'" in found.stderr
    assert not (deployed / "other.db").exists()
