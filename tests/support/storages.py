"""Storages that tell what was asked of them: operations are counted, never timed."""

from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.storage import Batch


class CountingStorage(MemoryStorage):
    """Counts what is written: items, their bytes, the bytes of rows, and commits."""

    def __init__(self) -> None:
        super().__init__()
        self.items_written = 0
        self.item_bytes = 0
        self.row_bytes = 0
        self.commits = 0

    def commit(self, batch: Batch) -> bool:
        self.commits += 1
        self.items_written += len(batch.items)
        self.item_bytes += sum(len(data) for _, _, data in batch.items)
        self.row_bytes += len(batch.row.body) if batch.row else 0
        return super().commit(batch)
