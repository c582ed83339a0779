"""Names as PostgreSQL keeps them: each comes back as it was, and the ids of tasks take few bytes."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.checkpoint.postgres.names import packed, unpacked

ids = st.integers(0, (1 << 128) - 1).map(lambda number: str(UUID(int=number)))
texts = st.text() | st.sampled_from(["", "|", ":", "agent:", "\xff", "\udcff", "ÿ"])
names = st.lists(texts | ids | ids.map(":{}".format) | ids.map(str.upper)).map("".join)


@given(names)
def test_it_comes_back(name: str) -> None:
    assert unpacked(packed(name)) == name


@given(names, names)
def test_two_are_never_one(one: str, other: str) -> None:
    assert (packed(one) == packed(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "size"), [("", 0), ("agent", 5), (f"agent:{UUID(int=0)}|in:{UUID(int=255)}|1", 5 + 17 + 3 + 17 + 2)]
)
def test_ids_of_tasks_take_few_bytes(name: str, size: int) -> None:
    assert len(packed(name)) == size
