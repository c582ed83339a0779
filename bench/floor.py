"""The floor: an engine written by hand for the graphs of this bench, which does what every real engine must, and no more.

It is read by the workloads as if it were a third library. A step has an id for each task, a config and a runtime object, a
context variable, versions of channels and what each node has seen of them, reducers, branches, joins, `Send`, errors that say
where they come from, chunks for whoever reads a stream, and its row in a log. It has no interrupts, retries, caches, callbacks,
checks of input or history.
"""

import asyncio
import contextvars
import functools
import hashlib
import os
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Final, TypedDict, get_type_hints

START: Final = "__start__"
END: Final = "__end__"
CURRENT: contextvars.ContextVar["Runtime"] = contextvars.ContextVar("CURRENT")


class Send:
    """A task with an input of its own."""

    __slots__ = ("arg", "node")

    def __init__(self, node: str, arg: Any) -> None:
        self.node, self.arg = node, arg


class Messages(list[Any]):
    """Messages, and where each stands by its id: an append costs the same at any length."""

    places: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self.places = {}

    def fold(self, messages: Any) -> None:
        for message in messages if isinstance(messages, list) else [messages]:
            if message.id is None:
                message.id = str(uuid.uuid4())
            place = self.places.get(message.id)
            if place is None:
                self.places[message.id] = len(self)
                self.append(message)
            else:
                self[place] = message


def add_messages(left: Messages | None, right: Any) -> Messages:
    found = Messages() if left is None else left
    found.fold(right)
    return found


class MessagesState(TypedDict):
    messages: Annotated[list[Any], add_messages]


class Runtime:
    """What a node may ask for."""

    __slots__ = ("config", "context", "previous", "store", "task", "writer")

    def __init__(self, config: dict[str, Any], task: str) -> None:
        self.config, self.task = config, task
        self.context = self.store = self.previous = self.writer = None


class Task:
    __slots__ = ("given", "id", "name", "node", "runtime")

    def __init__(self, name: str, node: Callable[..., Any], given: Any, id_: str, runtime: Runtime) -> None:
        self.name, self.node, self.given, self.id, self.runtime = name, node, given, id_, runtime


class StateGraph:
    """Nodes and edges, in the words of the two libraries."""

    def __init__(self, schema: Any, *, output_schema: Any = None) -> None:
        hints = get_type_hints(schema, include_extras=True)
        self.output = None if output_schema is None else tuple(get_type_hints(output_schema))
        self.reducers = {key: hint.__metadata__[0] if hasattr(hint, "__metadata__") else None for key, hint in hints.items()}
        self.nodes: dict[str, Callable[..., Any]] = {}
        self.edges: dict[str, list[str]] = {}
        self.joins: list[tuple[frozenset[str], str]] = []
        self.branches: dict[str, Callable[..., Any]] = {}

    def add_node(self, name: str, node: Any) -> "StateGraph":
        self.nodes[name] = node
        return self

    def add_edge(self, source: str | Sequence[str], target: str) -> "StateGraph":
        if isinstance(source, str):
            self.edges.setdefault(source, []).append(target)
        else:
            self.joins.append((frozenset(source), target))
        return self

    def add_conditional_edges(self, source: str, route: Callable[..., Any], _targets: Any = None) -> "StateGraph":
        self.branches[source] = route
        return self

    def compile(self, checkpointer: Any = None) -> "Compiled":
        return Compiled(self, checkpointer)


class Compiled:
    """The plan: what each node leads to, put together once."""

    def __init__(self, graph: StateGraph, log: Any) -> None:
        self.reducers, self.branches, self.output, self.log = graph.reducers, graph.branches, graph.output, log
        self.nodes = {
            name: (getattr(node, "invoke", node), getattr(node, "ainvoke", node)) for name, node in graph.nodes.items()
        }
        self.after = {name: tuple(t for t in graph.edges.get(name, ()) if t != END) for name in (START, *graph.nodes)}
        self.joining = {name: [join for join in graph.joins if name in join[0]] for name in graph.nodes}

    def invoke(self, given: Any, config: dict[str, Any] | None = None, durability: str | None = None) -> dict[str, Any]:
        run = Run(self, config, durability, ())
        for _ in self._steps(run, given):
            pass
        return run.result()

    async def ainvoke(self, given: Any, config: dict[str, Any] | None = None, durability: str | None = None) -> dict[str, Any]:
        run = Run(self, config, durability, ())
        async for _ in self._asteps(run, given):
            pass
        return run.result()

    def stream(self, given: Any, config: dict[str, Any] | None = None, *, stream_mode: str = "values") -> Iterator[Any]:
        run = Run(self, config, None, (stream_mode,))
        for _ in self._steps(run, given):
            while run.chunks:
                yield run.chunks.popleft()[1]

    def _steps(self, run: "Run", given: Any) -> Iterator[None]:
        if self.log:
            run.head = self.log.load(run.thread, self.fold)
        run.begin(given)
        run.keep()
        yield
        while run.ready:
            tasks = run.tasks(0)
            if len(tasks) == 1:
                found = [_call(tasks[0])]
            else:
                found = list(_pool().map(_call_apart, tasks))
            run.apply(tasks, found)
            run.keep()
            yield
        run.end()

    async def _asteps(self, run: "Run", given: Any) -> AsyncIterator[None]:
        if self.log:
            run.head = await self.log.aload(run.thread, self.fold)
        run.begin(given)
        await run.akeep()
        yield
        while run.ready:
            tasks = run.tasks(1)
            if len(tasks) == 1:
                found = [await _acall(tasks[0])]
            else:
                found = await asyncio.gather(*map(_acall, tasks))
            run.apply(tasks, found)
            await run.akeep()
            yield
        await run.aend()

    def fold(self, state: dict[str, Any], update: dict[str, Any]) -> None:
        reducers = self.reducers
        for key, value in update.items():
            reducer = reducers[key]
            if reducer is None:
                state[key] = value
            elif reducer is add_messages:
                state[key] = add_messages(state.get(key), value)
            else:
                state[key] = reducer(state[key], value) if key in state else value


class Run:
    """One call's state, and what is to be done next."""

    def __init__(self, plan: Compiled, config: dict[str, Any] | None, durability: str | None, modes: tuple[str, ...]) -> None:
        self.plan, self.config, self.modes = plan, config or {}, modes
        self.chunks: deque[tuple[str, Any]] = deque()
        self.lazy = durability == "exit"
        self.thread = self.config.get("configurable", {}).get("thread_id", "")
        self.limit = self.config.get("recursion_limit", 10_000)
        self.state: dict[str, Any] = {}
        self.head: Any = None
        self.step = 0
        self.versions: dict[str, int] = {}
        self.seen: dict[str, dict[str, int]] = {}
        self.arrived: dict[str, set[str]] = {}
        self.ready: list[tuple[str, Any]] = []
        self.delta: list[dict[str, Any]] = []

    def begin(self, given: Any) -> None:
        if self.head is not None:
            self.state = self.head.state
        self._write(given)
        self.ready = self._next(START)
        if "values" in self.modes:
            self.chunks.append(("values", self.shown()))

    def tasks(self, face: int) -> list[Task]:
        self.step += 1
        if self.step > self.limit:
            raise RecursionError(f"{self.limit} steps")
        made: list[Task] = []
        for number, (name, arg) in enumerate(self.ready):
            id_ = hashlib.blake2b(f"{self.thread}:{self.step}:{name}:{number}".encode(), digest_size=16).hexdigest()
            metadata = {"step": self.step, "node": name, "task": id_}
            runtime = Runtime({"configurable": self.config.get("configurable"), "metadata": metadata}, id_)
            made.append(Task(name, self.plan.nodes[name][face], dict(self.state) if arg is None else arg, id_, runtime))
            self.seen[name] = {name: self.versions[name]}
        return made

    def apply(self, tasks: list[Task], found: Sequence[Any]) -> None:
        written: set[str] = set()
        for update in found:
            if update:
                for key in update:
                    if key in written and self.plan.reducers[key] is None:
                        raise ValueError(f"two tasks of one step wrote {key!r}, which has no reducer")
                written.update(update)
                self._write(update)
        ready: list[tuple[str, Any]] = []
        for task in tasks:
            ready += self._next(task.name)
        self.ready = list(dict.fromkeys(ready)) if len(ready) > 1 and ready[0][1] is None else ready
        if "updates" in self.modes:
            self.chunks += [("updates", {task.name: update}) for task, update in zip(tasks, found, strict=True)]
        if "values" in self.modes:
            self.chunks.append(("values", self.shown()))

    def shown(self) -> dict[str, Any]:
        """The state as it is now: lists go on growing in place."""
        return {key: list(value) if isinstance(value, list) else value for key, value in self.state.items()}

    def result(self) -> dict[str, Any]:
        output = self.plan.output
        return self.state if output is None else {key: self.state[key] for key in output}

    def _write(self, update: dict[str, Any]) -> None:
        self.plan.fold(self.state, update)
        for key in update:
            self.versions[key] = self.versions.get(key, 0) + 1
        if self.head is not None:
            self.delta.append(update)

    def _next(self, name: str) -> list[tuple[str, Any]]:
        """What the end of this node leads to."""
        plan = self.plan
        found: list[tuple[str, Any]] = [(target, None) for target in plan.after[name]]
        if name in plan.branches:
            routed = plan.branches[name](self.state)
            for target in routed if isinstance(routed, list) else [routed]:
                if isinstance(target, Send):
                    found.append((target.node, target.arg))
                elif target != END:
                    found.append((target, None))
        for sources, target in plan.joining.get(name, ()):
            arrived = self.arrived.setdefault(target, set())
            arrived.add(name)
            if arrived >= sources:
                arrived.clear()
                found.append((target, None))
        for target, _ in found:
            self.versions[target] = self.versions.get(target, 0) + 1
        return found

    # -- the log ----------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        if self.head is not None and not self.lazy:
            self.plan.log.put(self.head, self.thread, self.delta, [name for name, _ in self.ready])
            self.delta = []

    async def akeep(self) -> None:
        if self.head is not None and not self.lazy:
            await self.plan.log.aput(self.head, self.thread, self.delta, [name for name, _ in self.ready])
            self.delta = []

    def end(self) -> None:
        if self.lazy:
            self.lazy = False
            self.keep()

    async def aend(self) -> None:
        if self.lazy:
            self.lazy = False
            await self.akeep()


def _call(task: Task) -> Any:
    token = CURRENT.set(task.runtime)
    try:
        return task.node(task.given)
    except Exception as error:
        error.add_note(f"in task {task.id} of node {task.name!r}")
        raise
    finally:
        CURRENT.reset(token)


def _call_apart(task: Task) -> Any:
    return contextvars.copy_context().run(_call, task)


async def _acall(task: Task) -> Any:
    token = CURRENT.set(task.runtime)
    try:
        return await task.node(task.given)
    except Exception as error:
        error.add_note(f"in task {task.id} of node {task.name!r}")
        raise
    finally:
        CURRENT.reset(token)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """One for the process, made on first need."""
    return ThreadPoolExecutor(min(32, (os.cpu_count() or 1) + 4))
