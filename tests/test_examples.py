"""The examples as a user runs them: processes of their own, what they print, killed in the middle and started again."""

import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.histories import problems_for_anthropic, problems_for_openai
from support.mind import Call, Heard, Said, think
from support.pages import ROOT
from support.standin import StandIn

from clew.checkpoint.sqlite import SqliteSaver

pytestmark = pytest.mark.slow  # processes that import a model's client

EXAMPLES = ROOT / "examples"
README = (EXAMPLES / "README.md").read_text()
QUESTION = "  ? Pay back 40.00 EUR for order 1001?"


def command(example: str, *options: str) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / f"{example}.py"), *options]


def environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "LANGSMITH_TRACING": "false"}


def run(cwd: Path, example: str, *options: str, typed: str = "") -> str:
    """What it prints. It is given the lines in `typed`, and then nobody is there any more."""
    made = subprocess.run(
        command(example, *options), input=typed, capture_output=True, text=True, cwd=cwd, env=environment(), timeout=120
    )
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    return made.stdout


@contextmanager
def started(cwd: Path, example: str, *options: str) -> Generator[subprocess.Popen[str]]:
    """One that is killed (-9) in the end."""
    process = subprocess.Popen(
        command(example, *options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd, env=environment()
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], text: str) -> None:
    """Reads what it prints up to a text, letter by letter: a prompt ends without a new line."""
    assert process.stdout
    seen = ""
    while text not in seen:
        letter = process.stdout.read(1)
        assert letter, f"ended with {seen!r}"
        seen += letter


def conversation(cwd: Path, file: str) -> list[Any]:
    with SqliteSaver(cwd / file) as saver:
        kept = saver.get({"configurable": {"thread_id": "1"}})
        assert kept
        return kept["channel_values"]["messages"]


def assert_valid(messages: list[Any]) -> None:
    assert problems_for_anthropic(messages) == [] == problems_for_openai(messages)


def paid(cwd: Path) -> list[str]:
    return (cwd / "support.refunds.txt").read_text().splitlines()


# -- support_agent --------------------------------------------------------------------------------------------------


def test_an_approval_that_nobody_gave_is_asked_for_again(tmp_path: Path) -> None:
    first = run(tmp_path, "support_agent")
    assert "agent > refund(order='1001', amount=40.0)" in first
    assert first.endswith(f"{QUESTION} [yes, or why not] \n(Kept in support.db: the same command goes on from here.)\n")
    assert not (tmp_path / "support.refunds.txt").exists()

    second = run(tmp_path, "support_agent", typed="yes\n")
    assert second.startswith(QUESTION)
    assert "< Paid back 40.00 EUR for order 1001." in second
    third = run(tmp_path, "support_agent", typed="no, it is on its way again\nwhat about 1003?\n")
    assert third.startswith("  ? Pay back 120.00 EUR for order 1002?")
    assert "agent: Paid back 40.00 EUR for order 1001. Order 1002 was not approved: no, it is on its way again" in third
    assert "agent: Order 1003: a table, 310.00 EUR, on its way" in third
    assert paid(tmp_path) == ["1001 40.00 EUR"]
    assert_valid(conversation(tmp_path, "support.db"))


def test_killed_in_the_middle_of_an_approval(tmp_path: Path) -> None:
    for question in (QUESTION, QUESTION):  # twice, for good measure
        with started(tmp_path, "support_agent") as process:
            until(process, question)
    with started(tmp_path, "support_agent") as process:
        assert process.stdin
        process.stdin.write("yes\n")
        process.stdin.flush()
        until(process, "? Pay back 120.00 EUR")
    assert paid(tmp_path) == ["1001 40.00 EUR"]
    assert "agent: Paid back 40.00 EUR for order 1001. Paid back 120.00 EUR" in run(tmp_path, "support_agent", typed="yes\n")
    assert paid(tmp_path) == ["1001 40.00 EUR", "1002 120.00 EUR"]
    assert_valid(conversation(tmp_path, "support.db"))


@pytest.mark.parametrize("number", range(3))
def test_killed_while_the_model_thinks(tmp_path: Path, anthropic_server: StandIn, number: int) -> None:
    reached, never = threading.Event(), threading.Event()

    def mind(heard: Heard) -> Said:
        if len(anthropic_server.requests) == number + 1 and not reached.is_set():
            reached.set()
            never.wait()
        return think(heard)

    anthropic_server.mind = mind
    said = "find_order('1001') and find_order('1002') then refund('1001', 40.0) and refund('1002', 120.0)"
    model = ["--model", "anthropic:claude-sonnet-5-5"]
    with started(tmp_path, "support_agent", said, *model) as process:
        assert process.stdin
        process.stdin.write("yes\nyes\n")
        process.stdin.flush()
        assert reached.wait(120)
    never.set()
    assert "agent: I looked it up: Order 1001" in run(tmp_path, "support_agent", *model, typed="yes\nyes\n")
    assert paid(tmp_path) == ["1001 40.00 EUR", "1002 120.00 EUR"]
    assert_valid(conversation(tmp_path, "support.db"))
    assert anthropic_server.refused == []


def test_each_thread_is_another_conversation(tmp_path: Path) -> None:
    assert "Customer: what about 1003?" in run(tmp_path, "support_agent", "what about 1003?")
    assert "Customer: I want my money back" in run(tmp_path, "support_agent", "--thread", "2")
    assert "a table" in str(conversation(tmp_path, "support.db"))


# -- handoff --------------------------------------------------------------------------------------------------------


def test_a_conversation_is_handed_over_and_stays_with_whom_it_was_handed_to(tmp_path: Path) -> None:
    first = run(tmp_path, "handoff")
    order = ["flights > find_flights", "flights > book_flight", "flights > transfer_to_hotels", "hotels > find_hotels"]
    assert re.findall(r"\w+ > \w+", first) == [*order, "hotels > book_hotel"]
    second = run(tmp_path, "handoff", typed="rather a hotel with a view, book it\nand flights to Oslo?\n")
    assert "hotels: Booked the hotel: Casa Luna, 130 EUR, with a view." in second
    assert re.findall(r"\w+ > \w+", second)[2:] == ["hotels > transfer_to_flights", "flights > find_flights"]
    booked = ["flight: nine o'clock, 89 EUR", "hotel: Albergo Sole, 95 EUR", "hotel: Casa Luna, 130 EUR, with a view"]
    assert second.endswith(f"Booked so far: {booked}\n")
    assert_valid(conversation(tmp_path, "travel.db"))


# -- research -------------------------------------------------------------------------------------------------------


def test_a_question_is_taken_apart_and_answered(tmp_path: Path) -> None:
    first = run(tmp_path, "research", "--pace", "0", "Where are threads kept, and what is pruned?")
    parts = ["Where are threads kept?", "what is pruned?"]
    assert re.findall(r"  to read: (.*)", first) == parts
    assert sorted(re.findall(r"  read:    (.*) \(", first)) == sorted(parts)
    report = first.partition("  written.\n")[2]
    assert all(part in report for part in parts)
    assert ".md]" in report
    again = run(tmp_path, "research", "--pace", "0", "Where are threads kept, and what is pruned?")
    assert again == f"This was answered before.\n{report}"


def test_what_was_read_before_a_crash_is_not_read_again(tmp_path: Path, anthropic_server: StandIn) -> None:
    asked, reached, never = Counter[str](), threading.Event(), threading.Event()

    def mind(heard: Heard) -> Said:
        if heard.shape:
            return Said(json.dumps({"parts": ["one?", "two?", "three?"]}))
        task = heard.turns[-1].text.partition("\n")[0]
        asked[task] += 1
        if task.endswith("two?") and asked[task] == 1:  # and the process dies while it waits for this answer
            reached.set()
            never.wait()
        return Said(f"told about {task}")

    anthropic_server.mind = mind
    options = ["one, two, three?", "--model", "anthropic:claude-sonnet-5-5", "--at-once", "1"]
    with started(tmp_path, "research", *options):
        assert reached.wait(120)
    never.set()
    again = run(tmp_path, "research", *options)
    assert again.startswith("Going on at read.")
    assert [len(again.split(f"  read:    {part}")) - 1 for part in ("one?", "two?", "three?")] == [0, 1, 1]
    in_two = {f"Answer in two sentences: {part}": times for part, times in (("one?", 1), ("two?", 2), ("three?", 1))}
    assert asked == {**in_two, "Write a report that answers: one, two, three?": 1}


# -- with a real client ---------------------------------------------------------------------------------------------


@pytest.fixture(params=["anthropic:claude-sonnet-5-5", "openai:gpt-4o"])
def model(request: pytest.FixtureRequest) -> tuple[str, StandIn]:
    """A model as the option names it, and who answers in its place."""
    return request.param, request.getfixturevalue(f"{request.param.partition(':')[0]}_server")


def test_support_with_a_real_client(tmp_path: Path, model: tuple[str, StandIn]) -> None:
    name, server = model
    said = (
        "find_order(order='1001') and find_order(order='1002') then refund(order='1001', amount=40.0) and refund('1002', 120.0)"
    )
    first = run(tmp_path, "support_agent", said, "--model", name)
    assert QUESTION in first
    second = run(tmp_path, "support_agent", "--model", name, typed="yes\nno\n")
    assert "agent: I looked it up: Order 1001: a lamp" in second
    assert paid(tmp_path) == ["1001 40.00 EUR"]
    assert_valid(conversation(tmp_path, "support.db"))
    assert server.requests
    assert server.refused == []


def test_a_hand_over_with_a_real_client(tmp_path: Path, model: tuple[str, StandIn]) -> None:
    name, server = model
    said = "find_flights('Rome') and transfer_to_hotels() then find_hotels('Rome') then book_hotel('Casa Luna')"
    first = run(tmp_path, "handoff", said, "--model", name)
    order = ["flights > find_flights", "flights > transfer_to_hotels", "hotels > find_hotels", "hotels > book_hotel"]
    assert re.findall(r"\w+ > \w+", first) == order
    assert "Booked so far: ['hotel: Casa Luna']" in first
    assert_valid(conversation(tmp_path, "travel.db"))
    assert server.refused == []


def test_agents_that_hand_over_for_ever_are_stopped(tmp_path: Path, anthropic_server: StandIn) -> None:
    anthropic_server.mind = lambda heard: Said("", (Call(heard.tools[2].name, {}),))
    assert "The run took 50 supersteps" in run(tmp_path, "handoff", "hello", "--model", "anthropic:claude-sonnet-5-5")
    assert len(anthropic_server.requests) == 17


def test_research_with_a_real_client(tmp_path: Path, model: tuple[str, StandIn]) -> None:
    name, server = model
    server.mind = lambda heard: Said("A report.") if heard.turns[-1].text.startswith("Write") else think(heard)
    assert run(tmp_path, "research", "Where are threads kept?", "--model", name).endswith("  written.\n\nA report.\n")
    assert server.refused == []


def test_a_model_that_is_not_there_is_told_in_a_line(tmp_path: Path) -> None:
    made = subprocess.run(
        command("support_agent", "--model", "nobody:nothing"), capture_output=True, text=True, cwd=tmp_path, env=environment()
    )
    assert made.returncode == 1
    assert made.stderr.startswith("The model 'nobody:nothing' cannot be had: ")
    assert "Traceback" not in made.stderr


# -- README ---------------------------------------------------------------------------------------------------------


def test_the_readme_names_every_file_and_every_command_runs(tmp_path: Path) -> None:
    files = {file.name for file in EXAMPLES.glob("*.py")}
    assert set(re.findall(r"\]\((\w+\.py)\)", README)) == files
    for example in sorted(set(re.findall(r"python examples/(\w+)\.py", README))):
        assert "--model" in run(tmp_path, example, "--help")


def test_the_readme_shows_what_happens(tmp_path: Path) -> None:
    told = README.partition("$ python examples/support_agent.py\n")[2].partition("\n```")[0]
    first, second = told.split(
        "^C\n(Kept in support.db: the same command goes on from here.)\n$ python examples/support_agent.py\n"
    )
    said = run(tmp_path, "support_agent").partition("\n(Kept")[0]
    assert sorted(said.splitlines()) == sorted(first.splitlines())  # tools end in any order
    answers = re.findall(r"why not\] (.+)", second)
    seen = run(tmp_path, "support_agent", typed="\n".join([*answers, ""]))
    shown = re.sub(r"(why not\] ).+\n", r"\1", second)  # what is typed on a terminal is not in what is printed
    assert seen.startswith(shown.rstrip())
