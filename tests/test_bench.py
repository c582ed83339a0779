"""The bench's workloads still run, and the floor still does what Clew does: each checks the state it ends with."""

import sys
from importlib import import_module
from pathlib import Path

import pytest
from support.pages import ROOT

pytestmark = pytest.mark.slow
SIDES = pytest.mark.parametrize("package", ["clew", "floor"])
WORKS = [("one_node",), ("wide",), ("fan", 10), ("fan", 100), ("subgraphs",), ("agent", 10)]


@pytest.fixture(autouse=True)
def _bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "bench"), *sys.path])


@SIDES
@pytest.mark.parametrize("work", WORKS, ids=lambda work: "-".join(map(str, work)))
@pytest.mark.parametrize("on", ["sync", "async"])
def test_a_workload_of_the_engine_runs(package: str, work: tuple[str, *tuple[int, ...]], on: str) -> None:
    name, *arguments = work
    assert getattr(import_module("parts.engines"), name)(package, on, *arguments, 0).cpu > 0


@SIDES
@pytest.mark.parametrize("on", ["sync", "async"])
@pytest.mark.parametrize("durability", ["sync", "exit"])
def test_a_chain_on_sqlite_runs(package: str, on: str, durability: str) -> None:
    chains = import_module("parts.chains")
    assert chains.steps(package, chains.Case(10, on, "sqlite normal", durability), 0).cpu > 0


@SIDES
def test_a_chat_runs_and_is_read(package: str) -> None:
    chats = import_module("parts.chats")
    chats.begin(package, "sqlite normal", 500, 8)
    try:
        assert len(chats.warm(package, 3)) == 3
        assert chats.cold(package).cpu > 0
        size = chats.size_of(package)
        assert size.kept > 6 * 500
        if package == "clew":
            assert chats.state(package, True).cpu > 0
            assert chats.history(package, 5, True).cpu > 0
            assert 6 * 500 < size.unique < size.kept
    finally:
        chats.end(package)


def test_what_an_earlier_run_had_better_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    against, measure = import_module("against"), import_module("measure")

    def results(cpu: float, modules: float) -> list[object]:
        ours, theirs = [measure.Cost(cpu, cpu)], [measure.Cost(10.0, 10.0)]
        lines = [measure.Comparison("step", "a", ours, theirs), measure.Amount("import", "modules", modules, 900.0)]
        return [line.record() for line in lines]

    path = tmp_path / "results.json"
    import_module("report").write_json(path, {}, results(1.0, 100))
    against.show(path, results(1.2, 104))
    assert "Nothing is worse" in capsys.readouterr().out
    against.show(path, results(1.5, 110))
    shown = capsys.readouterr().out
    assert "step: a" in shown
    assert "import: modules" in shown
