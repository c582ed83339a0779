"""Every example of the documentation runs as it stands, and prints what the page shows: the `text` block right after it."""

import re
import subprocess
from pathlib import Path

import pytest
from support.langgraph_env import made
from support.pages import ROOT, blocks, of_langgraph, run

PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/how-to/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_runs(page: Path, anthropic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(blocks(page))
    if before := of_langgraph(page):
        subprocess.run([made(), "-c", before], check=True, cwd=tmp_path)
    run(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in linked if not (page.parent / link).exists()] == []


def test_what_a_page_shows_is_compared(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n1\n```\n\n```python\nprint(2)\n```\n\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:10 prints"):
        run(page)
