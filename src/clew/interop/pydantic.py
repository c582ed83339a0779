"""pydantic, for what says by itself that it wants it. The core knows models by what they have, and never imports it."""

from clew.errors import MissingDependency

try:
    from pydantic import TypeAdapter
except ImportError as error:
    raise MissingDependency("response_schema needs pydantic: `pip install pydantic`.") from error

__all__ = ["TypeAdapter"]
