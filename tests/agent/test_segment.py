from __future__ import annotations

import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.segment import (
    DamagedError,
    Segment,
    bits,
    decode_cells,
    decode_columns,
    decode_texts,
    encode,
    reals,
    whole,
)

int64s = st.integers(-(2**63), 2**63 - 1)
texts = st.text(max_size=64).filter(lambda text: max(text, default="a") < "\ud800")


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    count = draw(st.integers(1, 40))
    near = st.integers(0, draw(st.sampled_from([0, 1, 255, 256, 65_536, 2**32])))
    column = st.lists(st.one_of(near, int64s) if draw(st.booleans()) else near, min_size=count)
    columns = [draw(column)[:count] for _ in range(draw(st.integers(1, 5)))]
    return np.array(columns, np.int64)


@given(tables())
def test_whole_numbers_come_back_as_they_were(table: np.ndarray) -> None:
    made = encode(tuple(table))
    assert decode_columns(made.count, made.columns, len(table)).tolist() == table.tolist()


@given(st.lists(st.floats(width=64), min_size=1))
def test_real_numbers_come_back_bit_by_bit(values: list[float]) -> None:
    made = encode((bits(values),))
    found = reals(decode_columns(made.count, made.columns, 1)[0])
    assert found.tobytes() == np.array(values).tobytes()


@given(st.lists(texts, min_size=1, max_size=60))
def test_texts_of_any_kind_come_back(values: list[str]) -> None:
    lengths = whole([len(value) for value in values])
    made = encode((lengths,), texts="".join(values))
    assert decode_texts(lengths, made.columns, made.texts) == values


@given(st.integers(1, 20), st.integers(1, 5), st.data())
def test_cells_come_back_bit_by_bit(count: int, width: int, data: st.DataObject) -> None:
    raw = data.draw(st.binary(min_size=4 * count * width, max_size=4 * count * width))
    made = encode((np.arange(count),), raw)
    found = decode_cells(count, made.columns, made.cells)
    assert (found.shape, found.tobytes()) == ((count, width), raw)


def test_a_column_takes_as_much_room_as_its_numbers_differ() -> None:
    def size(*values: int) -> int:
        return len(encode((np.array(values, np.int64),)).columns)

    alone = size(7)
    assert size(*[10**15] * 100) == alone
    assert size(10**15, 10**15 + 255, 10**15) == alone + 3
    assert size(10**15, 10**15 + 256) == alone + 4
    assert size(0, 2**32 - 1) == alone + 8
    assert size(-(2**63), 2**63 - 1) == alone + 16


def test_ids_that_are_alike_are_deflated() -> None:
    ids = [f"0123456789abcdef{1_700_000_000_000 + 1_000 * n:x}" for n in range(1_000)]
    made = encode((whole([len(one) for one in ids]),), texts="".join(ids))
    assert len(made.texts) < sum(map(len, ids)) / 5


@given(st.data())
def test_a_bit_that_tips_over_anywhere_is_damage(data: st.DataObject) -> None:
    ids = ["0123456789abcdef" * 3, "x"]
    table = np.array([[1, 300], [len(one) for one in ids]], np.int64)
    made = encode(tuple(table), b"12345678", "".join(ids))
    part = data.draw(st.sampled_from(["columns", "cells", "texts"]))
    raw = getattr(made, part)
    kept = raw if isinstance(raw, bytes) else raw.encode()
    place = data.draw(st.integers(0, 8 * len(kept) - 1))
    tipped = bytearray(kept)
    tipped[place // 8] ^= 1 << place % 8
    with pytest.raises(DamagedError):
        _read(msgspec.structs.replace(made, **{part: bytes(tipped)}))


@given(st.integers(-1, 3), st.binary(max_size=80))
def test_bytes_that_nobody_wrote_are_damage(count: int, raw: bytes) -> None:
    with pytest.raises(DamagedError):
        _read(Segment(count, raw))


@pytest.mark.parametrize("wrong", [None, 3, "text", 2.5])
def test_what_is_no_blob_is_damage(wrong: object) -> None:
    with pytest.raises(DamagedError):
        decode_columns(1, wrong, 1)
    with pytest.raises(DamagedError):
        decode_columns(wrong if wrong != 3 else "3", b"", 1)
    with pytest.raises(DamagedError):
        decode_cells(1, encode((np.arange(1),)).columns, wrong)


def test_a_count_that_is_not_the_segments_own_is_damage() -> None:
    made = encode((np.full(5, 3),))
    with pytest.raises(DamagedError):
        decode_columns(6, made.columns, 1)


def test_a_column_that_says_more_than_it_holds_is_damage() -> None:
    made = encode((np.arange(4),))
    head = struct.pack("<qB", 0, 3)
    with pytest.raises(DamagedError):
        decode_columns(4, head + made.columns[9:], 1)


def _read(made: Segment) -> None:
    table = decode_columns(made.count, made.columns, 2)
    decode_cells(made.count, made.columns, made.cells)
    decode_texts(table[1], made.columns, made.texts)
