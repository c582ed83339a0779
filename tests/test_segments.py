"""Checkpoint rows in one value (`clew.checkpoint.segments`): what went in comes out, and what was not written is refused."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.checkpoint.segments import WHOLE, compressed, joined, records, whole
from clew.checkpoint.storage import Row
from clew.errors import DamagedData

seqs = st.integers(1, 2**32 - 1)


@st.composite
def any_row(draw: st.DrawFn) -> Row:
    seq, start = draw(seqs), draw(st.binary(min_size=12, max_size=12))
    before = st.integers(1, 300).map(lambda distance: max(seq - distance, 1))
    parent, base = draw(st.none() | before | seqs), draw(st.none() | before | seqs)
    return Row(seq, start + seq.to_bytes(4, "big"), parent, base, draw(st.binary(max_size=100)) * draw(st.sampled_from((1, 9))))


rows = any_row()
segments = st.lists(st.tuples(st.integers(0, 99) | st.integers(0, 2**32 - 1), rows), max_size=20)


@given(segments)
def test_what_went_in_comes_out(some: list[tuple[int, Row]]) -> None:
    segment = joined(some)
    assert records(segment) == some
    assert whole(compressed(segment)) == segment


@given(segments.filter(bool), st.data())
def test_what_was_cut_off_is_refused_or_ends_sooner(some: list[tuple[int, Row]], data: st.DataObject) -> None:
    segment = joined(some)
    cut = segment[: data.draw(st.integers(0, len(segment) - 1))]
    try:
        found = records(cut)
    except DamagedData:
        pass
    else:
        assert found == some[: len(found)]
        assert joined(found) == cut


@given(st.binary(max_size=200))
def test_what_clew_did_not_write_is_refused(data: bytes) -> None:
    try:
        found = records(whole(data))
    except DamagedData:
        pass
    else:
        assert records(joined(found)) == found


def test_what_would_grow_without_end_is_not_unpacked() -> None:
    with pytest.raises(DamagedData):
        whole(b"\1" + zlib.compress(bytes(WHOLE + 1)))
    assert len(whole(b"\1" + zlib.compress(bytes(WHOLE)))) == WHOLE


def test_what_is_large_is_kept_as_it_is() -> None:
    segment = bytes(WHOLE + 1)
    assert whole(compressed(segment)) == segment
