"""Graphs as users write them, run on Clew and on LangGraph from the same source; see `run.py`."""
