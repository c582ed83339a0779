"""Where a task comes from: the checkpoints that the one it runs in grew from. Few tasks ask, so it is read when one does."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clew.checkpoint.records import Record, listed
from clew.checkpoint.storage import Waiting, at_once
from clew.runtime.drive import iterate

if TYPE_CHECKING:
    from clew.runtime.context import TaskContext


def grown_from(task: "TaskContext") -> Iterator[Record]:
    """The checkpoint that a task runs in, as far as it is kept, and those that it grew from, newest first. It blocks."""
    journal = task.scope.journal
    if journal is None or journal.saved is None:
        return
    wanted = {journal.saved.id, journal.saved.parent}  # the first of them may not be written yet
    for record in iterate(listed(Waiting(journal.storage.storage, at_once), journal.thread, journal.ns, None, None)):
        if record.id in wanted:
            yield record
            wanted = {record.saved.parent}
