"""What a graph compiles to, as far as the rules need it: keys and their channels, nodes and where they lead.

Made once, by `StateGraph.compile`; never changed after. No function of a user is called through it but reducers.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clew.channels import CONTAINERS, MISSING, Channel
from clew.errors import UnknownNode
from clew.nouns import noun
from clew.schema import View
from clew.types import Join, Task, Values


@noun
class Station:
    """A node as the rules see it.

    Attributes:
        task: it in a frontier, where it reads the state; of the name that it has now.
        edges: the nodes its plain edges lead to, END left out.
        joins: the joins that wait for it.
        then: the frontier after it, where it was the only one to run and only its edges were followed; None where that
            depends on others as well.
    """

    task: Task
    edges: tuple[str, ...] = ()
    joins: tuple[Join, ...] = ()
    then: tuple[Task, ...] | None = None

    @property
    def name(self) -> str:
        return self.task.node


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled graph.

    Attributes:
        channels: the rule of each key of the state, those of its nodes' own schemas included.
        stations: every node by name, START among them; a node's old names too.
        deferred: the nodes that run only when nothing else can.
        state: how a node sees the state that says nothing else. given: the keys an input may write. shown: what callers get.
        aliases: old names of nodes, and what they are called now. renamed: the same of keys.
        check: refuses values that the schema does not allow; see `schema.checker`.
        entry: the node that a run's input, of any type, is handed to as it is (`@entrypoint`); None where START writes it.
        root: whether the state is one anonymous value. starting: the channels that may have a value before the first write.
        fleeting, unstored: keys of such channels. prepares: per key what is done to an update, where something is.
    """

    channels: Mapping[str, Channel]
    stations: Mapping[str, Station]
    deferred: frozenset[str]
    state: View
    given: frozenset[str]
    shown: View
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    check: Callable[[Values, Iterable[str]], None] | None = None
    entry: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    root: bool = field(init=False)
    starting: tuple[tuple[str, Channel], ...] = field(init=False)
    fleeting: tuple[str, ...] = field(init=False)
    unstored: frozenset[str] = field(init=False)
    prepares: Mapping[str, Callable[[Any], Any]] = field(init=False)

    def __post_init__(self) -> None:
        rules = self.channels.items()
        starting = tuple((key, channel) for key, channel in rules if type(channel).initial is not Channel.initial)
        object.__setattr__(self, "root", self.state.root)
        object.__setattr__(self, "starting", starting)
        object.__setattr__(self, "fleeting", tuple(key for key, channel in rules if channel.fleeting))
        object.__setattr__(self, "unstored", frozenset(key for key, channel in rules if not channel.stored))
        object.__setattr__(self, "prepares", {key: channel.prepare for key, channel in rules if channel.prepare})

    @property
    def keeps(self) -> dict[str, bool]:
        """Per key, whether its channel keeps elements (`Channel.keeps_elements`)."""
        return {key: channel.keeps_elements for key, channel in self.channels.items()}

    def initial(self) -> dict[str, Any]:
        """The values of a thread on which nothing was ever written."""
        return {key: start for key, rule in self.starting if (start := rule.initial()) is not MISSING} if self.starting else {}

    def completed(self, values: Values) -> Values:
        """Stored values, with those of keys that the schema has gained or renamed since."""
        if values.keys() >= self.channels.keys():
            return values
        return {**self.initial(), **self.by_new_names(values)}

    def by_new_names(self, values: Values) -> Values:
        """Stored values, those of renamed keys under their new names as well: what the older code wrote stays for it."""
        gained: dict[str, Any] = {}
        for old, new in self.renamed.items():
            if old in values and new not in values:
                gained.setdefault(new, values[old])
        return {**values, **gained} if gained else values

    def key(self, name: str) -> str:
        """What a key that may be known by an old name is called now."""
        return self.renamed.get(name, name)

    def values(self, values: Values) -> Any:
        """The whole state as streams and snapshots show it: every key of the graph, each container a copy of its own."""
        if self.root:
            return self.state.plain(values)
        if self.renamed:
            values = self.by_new_names(values)
        channels = self.channels
        return {key: value.copy() if type(value) in CONTAINERS else value for key, value in values.items() if key in channels}

    def target(self, name: str, source: str) -> str:
        """What a node is called now. Raises UnknownNode where nothing of that name exists, naming what does."""
        if name not in self.stations:
            raise UnknownNode(f"{source!r} leads to {name!r}, which is not a node of this graph. {self.known()}")
        return self.current(name)

    def current(self, name: str) -> str:
        """What a node that may be known by an old name is called now."""
        return self.aliases.get(name, name)

    def known(self) -> str:
        return (
            f"Its nodes are {sorted(name for name in self.stations if not name.startswith('__') and name not in self.aliases)}."
        )
