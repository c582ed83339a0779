"""From a call of a graph's verb to a run: which options there are, what keeps it, where it stops, and what comes out of it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from clew.errors import GraphError, MissingCheckpointer, UnkeptWarning
from clew.graph.call import Call, as_context, read_call, scope_of, surrounding
from clew.graph.validate import stopping_at
from clew.runtime.attempt import Program, Stops
from clew.runtime.context import TaskContext
from clew.runtime.host import Host
from clew.runtime.loop import Run
from clew.runtime.settings import merged
from clew.types import Config, GraphOutput, Interrupt

if TYPE_CHECKING:
    from clew.cache.base import BaseCache
    from clew.checkpoint.base import Saver
    from clew.graph.state import StateGraph
    from clew.store.base import BaseStore

NAMELESS: Final = "LangGraph"
OPTIONS: Final = {
    "context", "control", "debug", "durability", "interrupt_after", "interrupt_before", "on_busy", "output_keys", "print_mode",
    "resumable", "subgraphs", "version",
}  # fmt: skip


class Starting:
    """What `CompiledStateGraph` makes of a call."""

    program: Program
    builder: StateGraph[Any, Any, Any, Any]
    checkpointer: Saver | bool | None
    store: BaseStore | None
    cache: BaseCache[Any] | None
    name: str
    debug: bool
    config: Config | None
    interrupt_before: str | Sequence[str]
    interrupt_after: str | Sequence[str]
    _registered: bool

    @property
    def own_name(self) -> str:
        """What a memory of its own is told by; "" where it has no name, or one that a namespace cannot have."""
        return "" if self.name == NAMELESS or not self.name.isidentifier() else self.name

    def _call(self, stream_mode: str | Sequence[str] | None, config: Any, *, invoked: bool = False, **options: Any) -> Call:
        for name in options.keys() - OPTIONS if invoked and options else ():  # else the verb names them all
            raise TypeError(f"There is no argument {name!r}: expected some of {sorted(OPTIONS)}.")
        if self.debug:
            options["debug"] = True
        if invoked and options.get("resumable"):
            raise ValueError("resumable=True is for `stream`, which yields what is kept: `invoke` returns once it is over.")
        config = merged(self.config, config) if self.config else config
        if invoked and stream_mode == "values":
            if not options:  # nothing that has to be read
                return Call(config, surrounding(config), tagged=True, build=self.builder.schema.build)
            stream_mode = ()
        return read_call(stream_mode, config, build=self.builder.schema.build, **options)

    def _run(self, call: Call, host: Host) -> Run:
        around = call.around
        saver = self._saver(around)
        context = None if call.context is None else as_context(self.builder.context_schema, call.context)
        alone = self.own_name if self.checkpointer is True and saver is not None else None
        scope = scope_of(call, host, kept=saver is not None and not around, context=context, store=self.store,
                         cache=self.cache, name=self.name, alone=alone)  # fmt: skip
        if call.resumable:
            self._check_resumable(saver, nested=around is not None)
        if call.durability and saver is None and not around:
            warnings.warn(
                f"durability={call.durability!r} says when to keep what a run does, and the graph keeps nothing: compile it "
                "with a checkpointer.",
                UnkeptWarning,
                stacklevel=3,
            )
        shown = self.program.plan.shown
        keys = call.output_keys
        for key in () if keys is None else (keys,) if isinstance(keys, str) else keys:
            if key not in self.program.plan.channels:
                raise ValueError(
                    f"output_keys names {key!r}, which the state does not have: {sorted(self.program.plan.channels)}."
                )
        if keys is None and scope.nested and not shown.root:
            keys = shown.keys
        return Run(self.program, saver, scope, keys, self._stops(call, forgets=scope.nested and saver is None), call.on_busy)

    def _check_resumable(self, saver: Saver | None, *, nested: bool) -> None:
        """Raises MissingCheckpointer, GraphError where the events of a run cannot be kept."""
        if nested:
            raise GraphError("resumable=True is for the outermost graph; `subgraphs=True` there keeps what this one tells.")
        if saver is None:
            raise MissingCheckpointer(
                "resumable=True keeps events, and the graph keeps nothing: compile it with a saver, as in "
                "`builder.compile(checkpointer=InMemorySaver())`."
            )

    def _saver(self, around: TaskContext | None) -> Saver | None:
        """What keeps a run: the graph's own saver, or inside a task that of the graph around it.

        Raises:
            RuntimeError: an outermost graph is to have the memory of one around it.
        """
        own = self.checkpointer
        if around is None:
            if own is True:
                raise RuntimeError(
                    "checkpointer=True cannot be used for root graphs: it lets a graph inside another remember. Compile this "
                    "one with a saver, as in `builder.compile(checkpointer=InMemorySaver())`."
                )
            return own or None
        saver = None if own is False else around.scope.saver
        if saver is not None and not self._registered:
            from clew.checkpoint.codec import register_schema  # late: a graph that keeps nothing need not import what keeps

            for source in self.builder.schemas:
                register_schema(source)
            self._registered = True
        return saver

    def _stops(self, call: Call, *, forgets: bool) -> Stops | None:
        """The breakpoints of a call, in place of the graph's own where it names some."""
        before, after = call.before or self.interrupt_before, call.after or self.interrupt_after
        if not before and not after:
            return None
        if forgets and call.around and call.around.scope.outermost.saver:
            raise GraphError(
                "A graph with breakpoints that runs within another has to be kept, or it would stop there for ever: compile it "
                "without `checkpointer=False`."
            )
        return Stops(stopping_at(self.builder.nodes, before), stopping_at(self.builder.nodes, after))

    def _output(self, state: Any, call: Call, interrupts: tuple[Interrupt, ...]) -> Any:
        if call.output_keys is not None:
            keys = call.output_keys
            state = state.get(keys) if isinstance(keys, str) else {key: state[key] for key in keys if key in state}
        if call.version == "v1":
            if not interrupts:
                return state
            asked = {"__interrupt__": list(interrupts)}
            return {**cast("dict[str, Any]", state), **asked} if type(state) is dict else asked
        build = self.program.plan.shown.build
        return GraphOutput(build(**state) if build and call.output_keys is None else state, interrupts)
