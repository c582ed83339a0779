"""The verbs of a graph that edit its threads; no node runs, but routers are asked where to go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clew.graph.reading import Reading, tasks
from clew.runtime.attempt import Program
from clew.runtime.drive import drive
from clew.runtime.threads import Threads
from clew.types import StateUpdate


class Editing(Reading):
    """What `CompiledStateGraph` can do to its threads without running."""

    def update_state(self, config: Any, values: Any, as_node: str | None = None) -> dict[str, Any]:
        """Writes to a thread as if `as_node` had just returned `values`: reducers apply, edges and routers are followed.

        It is a superstep of its own: what was pending is dropped (with a warning, where some of it had finished). `invoke(None,
        config)` goes on from there.

        Args:
            config: the thread; with a `checkpoint_id` the update grows from there, as a branch; with a `checkpoint_ns` it is of
                the graph inside a task that is kept there.
            values: what a node may return, a `Command` too; None for nothing.
            as_node: default: the graph's only node, START on an empty thread, else the one that ran last. `END` with None drops
                what is pending and keeps what had finished; `"__input__"` makes `values` a new input; `"__copy__"` copies the
                checkpoint.

        Returns:
            The config of the new checkpoint.

        Raises:
            InvalidUpdateError: it cannot be told which node, or there is none such; values that a node may not return.
            MissingCheckpointer, MissingThreadId, CheckpointNotFound; ThreadConflict where a run moved the thread on meanwhile.
        """
        return self.bulk_update_state(config, [[StateUpdate(values, as_node)]])

    async def aupdate_state(self, config: Any, values: Any, as_node: str | None = None) -> dict[str, Any]:
        """`update_state`, awaited."""
        return await self.abulk_update_state(config, [[StateUpdate(values, as_node)]])

    def bulk_update_state(self, config: Any, supersteps: Sequence[Sequence[StateUpdate]]) -> dict[str, Any]:
        """Several updates, one checkpoint for each superstep, each a list of updates by different nodes; for importing threads.

        Returns:
            The config of the last checkpoint.

        Raises:
            ValueError: no supersteps, or an empty one. InvalidUpdateError: several updates, and one does not say whose it is.
        """
        edit, program, saver, settings = self._editing(config)
        return drive(edit.update_state(program, saver, Threads(), settings, supersteps))

    async def abulk_update_state(self, config: Any, supersteps: Sequence[Sequence[StateUpdate]]) -> dict[str, Any]:
        """`bulk_update_state`, awaited."""
        edit, program, saver, settings = self._editing(config)
        return await edit.update_state(program, saver, tasks(), settings, supersteps)

    def _editing(self, config: Any) -> tuple[Any, Program, Any, Any]:
        from clew.runtime import edit  # late: a graph that keeps nothing has nothing to edit

        _, saver, settings = self._reading(config)
        graph = self._at(settings.ns)
        if graph is None:
            raise ValueError(
                f"Subgraph {settings.ns!r} not found: expected the `checkpoint_ns` of a task that is a graph, as in "
                "`graph.get_state(config, subgraphs=True).tasks[0].state.config`."
            )
        return edit, graph.program, saver, settings
