"""What a graph compiles to, as far as the rules need it: keys and their channels, nodes and where they lead.

Made once, by `StateGraph.compile`; never changed after. No function of a user is called through it but reducers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clew.channels import CONTAINERS, MISSING, Channel
from clew.errors import UnknownNode
from clew.types import Join, Values


@dataclass(frozen=True, slots=True)
class Station:
    """A node as the rules see it.

    Attributes:
        edges: the nodes its plain edges lead to, END left out.
        joins: the joins that wait for it.
    """

    edges: tuple[str, ...] = ()
    joins: tuple[Join, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled graph.

    Attributes:
        channels: the rule of each key of the state.
        stations: every node by name, START among them.
        deferred: the nodes that run only when nothing else can.
        build: makes a node's state out of a dict; None where the dict is the state.
    """

    channels: Mapping[str, Channel]
    stations: Mapping[str, Station]
    deferred: frozenset[str]
    build: Callable[..., Any] | None

    @property
    def keeps(self) -> dict[str, bool]:
        """Per key, whether its channel keeps elements (`Channel.keeps_elements`)."""
        return {key: channel.keeps_elements for key, channel in self.channels.items()}

    def initial(self) -> dict[str, Any]:
        """The values of a thread on which nothing was ever written."""
        found = {key: channel.initial() for key, channel in self.channels.items()}
        return {key: value for key, value in found.items() if value is not MISSING}

    def completed(self, values: Values) -> Values:
        """Stored values, with those of keys that the schema has gained since."""
        if values.keys() >= self.channels.keys():
            return values
        return {**self.initial(), **values}

    def output(self, values: Values) -> dict[str, Any]:
        """The state as callers see it: the schema's keys, each container a copy of its own (DESIGN §4)."""
        channels = self.channels
        return {key: value.copy() if type(value) in CONTAINERS else value for key, value in values.items() if key in channels}

    def view(self, values: Values) -> Any:
        """The state as a node is given it: a dict, or an instance of the schema."""
        state = self.output(values)
        return state if self.build is None else self.build(**state)

    def check_target(self, target: str, source: str) -> None:
        """Raises UnknownNode where nothing of that name exists, naming what does."""
        if target not in self.stations:
            raise UnknownNode(f"{source!r} leads to {target!r}, which is not a node of this graph. {self.known()}")

    def known(self) -> str:
        return f"Its nodes are {sorted(name for name in self.stations if not name.startswith('__'))}."
