"""Prints what is installed here, by name: one JSON document."""

import json
from importlib import metadata

NAMES = ("langgraph", "langgraph-checkpoint", "langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres")
print(json.dumps({name: metadata.version(name) for name in NAMES}))
