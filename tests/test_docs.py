"""Every example of the documentation runs as it stands, and prints what the page shows: the `text` block right after it."""

import re
import subprocess
from pathlib import Path

import pytest
from support.langgraph_env import made
from support.langgraph_env import run as run_theirs
from support.pages import ROOT, blocks, of_langgraph, run

SERVERS = {"redis://localhost:6379": "redis_url", "mongodb://localhost:27017": "mongodb_url"}
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/how-to/*.md")])
THEIRS = [ROOT / "docs" / "how-to" / "use-clews-savers-in-langgraph.md"]  # their examples run LangGraph
OURS = [page for page in PAGES if page not in THEIRS]
READ = sorted([*ROOT.glob("docs/explanation/*.md"), *ROOT.glob("docs/bench/*.md")])  # nothing in them runs


def servers_of(page: Path) -> dict[str, str]:
    """Fixtures of the servers that a page needs, by the URLs it shows."""
    return {url: fixture for url, fixture in SERVERS.items() if url in page.read_text()}


def slow(page: Path) -> bool:
    """Whether a page needs a server."""
    return bool(servers_of(page)) or any(name in page.read_text() for name in ("CLEW_POSTGRES_URL", "REDIS_PORT"))


RUN = [pytest.param(page, id=page.name, marks=[pytest.mark.slow, pytest.mark.server] if slow(page) else []) for page in OURS]


@pytest.mark.parametrize("page", RUN)
def test_a_page_runs(
    page: Path, anthropic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    if "ChatOpenAI" in page.read_text():
        request.getfixturevalue("openai_server")
    if "CLEW_POSTGRES_URL" in page.read_text():
        monkeypatch.setenv("CLEW_POSTGRES_URL", request.getfixturevalue("postgres_server").database())
    if "REDIS_PORT" in page.read_text():
        request.getfixturevalue("redis_client")  # an empty server
        monkeypatch.setenv("REDIS_PORT", str(request.getfixturevalue("redis_server").port))
    assert list(blocks(page))
    if before := of_langgraph(page):
        subprocess.run([made(), "-c", before], check=True, cwd=tmp_path)
    run(page, {url: request.getfixturevalue(fixture) for url, fixture in servers_of(page).items()})


@pytest.mark.slow
@pytest.mark.parametrize("page", THEIRS, ids=lambda page: page.name)
def test_a_page_about_langgraph_runs(page: Path, langgraph_env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(blocks(page))
    run_theirs(langgraph_env, "page.py", str(page))


@pytest.mark.parametrize("page", [*PAGES, *READ], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in linked if not (page.parent / link).exists()] == []


def test_what_a_page_shows_is_compared(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n1\n```\n\n```python\nprint(2)\n```\n\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:10 prints"):
        run(page)
