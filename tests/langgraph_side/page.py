"""Runs a page of the documentation whose examples need LangGraph."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.pages import run

run(Path(sys.argv[1]))
