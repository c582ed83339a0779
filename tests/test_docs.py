"""Every example of the documentation runs as it stands."""

from pathlib import Path

import pytest
from support.pages import ROOT, blocks, run

PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/how-to/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_runs(page: Path, anthropic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(blocks(page))
    run(page)
