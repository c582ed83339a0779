"""The floor's logs where many conversations run at once: what waits is read, and written, in one go.

A row is durable before whoever wrote it goes on, as in `floor_log.py`; but rows that wait for the same commit share it.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from floor_log import STEP, THREAD, Fold, Head, PostgresLog, SqliteLog, row_of

KNOWN: Final = "select t.name, t.no, (select max(seq) from step where thread = t.no) from thread t where t.name = any(%s)"
WRITE: Final = (
    "with u as (select * from unnest(%s::text[], %s::int[], %s::int[], %s::bytea[], %s::int[], %s::text[], %s::bytea[]) "
    "as u (name, no, seq, id, parent, next, writes)), "
    "made as (insert into thread (name) select name from u where no is null returning no, name), "
    "stepped as (insert into step select coalesce(u.no, made.no), seq, id, parent, next, writes "
    "from u left join made on made.name = u.name) select name, no from made"
)


class Queue:
    """Calls that come while one batch is on its way make the next."""

    def __init__(self, work: Callable[[list[Any]], Awaitable[Sequence[Any]]]) -> None:
        self._work = work
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, item: Any) -> Any:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            found = await self._work([item for item, _ in batch])
            for (_, future), result in zip(batch, found, strict=True):
                future.set_result(result)
        self._task = None


class GroupedSqlite(SqliteLog):
    """Commits in a thread, while others run."""

    def __init__(self, path: str, synchronous: str) -> None:
        super().__init__(path, synchronous)
        self.writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.writer.execute(f"pragma synchronous = {synchronous}")
        self.queue = Queue(self._commit)

    async def aput(self, head: Head, thread: str, delta: Sequence[dict[str, Any]], follow: Sequence[str]) -> None:
        head.no = await self.queue.ask((thread, row_of(head, delta, follow)))

    async def _commit(self, batch: list[Any]) -> Sequence[int]:
        return await asyncio.to_thread(self._write, batch)

    def _write(self, batch: list[Any]) -> list[int]:
        db, numbers = self.writer, list[int]()
        db.execute("begin immediate")
        for thread, (no, *_) in batch:
            numbers.append(no if no is not None else db.execute(THREAD.format("?"), (thread,)).fetchone()[0])
        rows = [(no, *row[1:]) for no, (_, row) in zip(numbers, batch, strict=True)]
        db.executemany(STEP.format("?"), rows)
        db.execute("commit")
        return numbers

    def close(self) -> None:
        self.writer.close()
        super().close()


class GroupedPostgres(PostgresLog):
    """One statement for all that wait, over a connection each for reading and for writing."""

    def __init__(self, reader: Any, writer: Any) -> None:
        super().__init__(reader)
        self.writer = writer
        self.loads, self.puts = Queue(self._find), Queue(self._commit)

    async def aload(self, thread: str, fold: Fold) -> Head:
        return await self.loads.ask((thread, fold))

    async def _find(self, batch: list[Any]) -> list[Head]:
        cursor = await self.db.execute(KNOWN, ([thread for thread, _ in batch],))
        known = {name: found for name, *found in await cursor.fetchall()}
        return [self.head_of(thread, known.get(thread)) or await super().aload(thread, fold) for thread, fold in batch]

    async def aput(self, head: Head, thread: str, delta: Sequence[dict[str, Any]], follow: Sequence[str]) -> None:
        head.no = await self.puts.ask((thread, row_of(head, delta, follow)))

    async def _commit(self, batch: list[Any]) -> list[int]:
        columns = [list(column) for column in zip(*((thread, *row) for thread, row in batch), strict=True)]
        made = dict(await (await self.writer.execute(WRITE, columns)).fetchall())
        return [no if no is not None else made[thread] for thread, (no, *_) in batch]
