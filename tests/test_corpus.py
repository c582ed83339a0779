"""What users see of the example graphs, beside what they see of them on LangGraph (its records: `corpus/langgraph.json`).

`make corpus` makes the records anew. An example that Clew cannot run yet is in `corpus/pending.txt` until it can.
"""

import json
from typing import Any, Final

import pytest
from corpus import verdict
from corpus.load import HERE, examples, mark_of, of_face, record
from corpus.plain import plain

RECORDED: Final[dict[str, Any]] = json.loads((HERE / "langgraph.json").read_text())["examples"]
EXAMPLES: Final = examples("clew")
PENDING: Final = verdict.pending()


def listed() -> list[Any]:
    late = pytest.mark.xfail(strict=True, reason="in corpus/pending.txt; once it runs: `python tests/corpus/run.py pending`")
    return [pytest.param(name, marks=[late] if name in PENDING else []) for name in EXAMPLES]


@pytest.mark.parametrize("name", listed())
def test_users_see_the_same_as_on_langgraph(name: str) -> None:
    found = EXAMPLES[name]
    mark = mark_of(found)
    for face in mark.faces:
        assert record(found, face) == verdict.expected(mark, of_face(RECORDED[name], face)), face


def test_the_recording_has_every_example_and_no_other() -> None:
    assert list(RECORDED) == list(EXAMPLES), "make corpus"
    assert set(EXAMPLES) >= PENDING


def test_every_example_ran_on_langgraph() -> None:
    assert "did not run" not in json.dumps(RECORDED)


def test_a_declared_difference_is_one() -> None:
    for name, found in EXAMPLES.items():
        mark = mark_of(found)
        if mark.differs:
            there = of_face(RECORDED[name], mark.faces[0])
            assert mark.differs.here(there) != there, name


def test_ids_and_times_become_placeholders_in_their_order() -> None:
    one, two = "00000000-0000-0000-0000-00000000000a", "0000000000000000000000000000000b"
    given = {"b": f"node:{two}|node:{one}", "a": (one, "2026-01-02T03:04:05.678901+00:00"), "c": {two}}
    assert plain(given) == {"a": {"tuple": ["<id 1>", "<time>"]}, "b": "node:<id 2>|node:<id 1>", "c": {"set": ["<id 2>"]}}


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(TypeError, match="an example returns what can be written as JSON"):
        plain({"node": object()})
