from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Metadata, RecordDict
from flwr.app.message import make_message
from flwr.app.message.array import Array
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from headwater.errors import PeerError
from headwater.objects import Vector, digest, name_of, read_message
from headwater.wire import ARRAY, COMPRESSED, STATISTICS

VECTOR = np.linspace(-1, 1, 300, dtype=np.float32)

Objects = tuple[str, dict[str, bytes]]


def objects(
    fields: bytes = b"fields", array: Vector | None = VECTOR, name: str = "arrays"
) -> Objects:
    """Take a message apart as Flower does."""
    content = RecordDict({"headwater": ConfigRecord({"fields": fields})})
    if array is not None:
        content[name] = ArrayRecord({name: Array(array)})
    message = make_message(Metadata(1, "", 1, 2, "", "", 1e9, 10.0, "train"), content)
    parts = {name: part.deflate() for name, part in get_all_nested_objects(message).items()}
    return message.object_id, parts


def read(made: Objects) -> tuple[bytes, Vector | None]:
    return read_message(*made, ConfigRecord.inflate, sender="coordinator")


def read_update(made: Objects) -> tuple[bytes, Vector | None]:
    """Read a message of a kind that may carry statistics."""
    vectors = (ARRAY, STATISTICS, COMPRESSED)
    return read_message(*made, ConfigRecord.inflate, sender="device", vectors=vectors)


def forged(made: Objects, kind: str, change: Callable[[bytes], bytes]) -> Objects:
    """Change the body of the object of a kind, and put all hashes and lengths right again."""
    root, parts = made
    names: dict[str, str] = {}

    def again(name: str) -> str:
        head, _, body = parts[name].partition(b"\x00")
        found, children, _ = head.decode().split(" ")
        below = [again(child) for child in children.split(",")] if children else []
        for old, new in names.items():
            body = body.replace(old.encode(), new.encode())
        if found == kind:
            body = change(body)
        content = f"{found} {','.join(below)} {len(body)}".encode() + b"\x00" + body
        names[name] = sha256(content).hexdigest()
        made_again[names[name]] = content
        return names[name]

    made_again: dict[str, bytes] = {}
    return again(root), made_again


def described(**changes: object) -> Callable[[bytes], bytes]:
    return lambda body: json.dumps({**json.loads(body), **changes}).encode()


@given(st.binary(max_size=50), npst.arrays(np.float32, st.integers(0, 50)))
def test_what_flower_takes_apart_comes_back_bit_for_bit(
    fields: bytes, array: NDArray[np.float32]
) -> None:
    found, vector = read(objects(fields, array))
    assert found == fields
    assert vector is not None
    assert vector.tobytes() == array.tobytes()


@given(npst.arrays(np.float64, st.integers(0, 50)))
def test_statistics_come_back_in_float64_bit_for_bit(array: NDArray[np.float64]) -> None:
    _, vector = read_update(objects(array=array, name=STATISTICS))
    assert vector is not None
    assert vector.dtype == np.float64
    assert vector.tobytes() == array.tobytes()


@given(npst.arrays(np.uint8, st.integers(0, 50)))
def test_compressed_bytes_come_back(array: NDArray[np.uint8]) -> None:
    _, vector = read_update(objects(array=array, name=COMPRESSED))
    assert vector is not None
    assert vector.dtype == np.uint8
    assert vector.tobytes() == array.tobytes()


def test_statistics_are_refused_where_none_belong_and_beside_an_array() -> None:
    statistics = VECTOR.astype(np.float64)
    with pytest.raises(PeerError, match="its records are others than ours"):
        read(objects(array=statistics, name=STATISTICS))
    content = RecordDict({"headwater": ConfigRecord({"fields": b""})})
    content[ARRAY] = ArrayRecord({ARRAY: Array(VECTOR)})
    content[STATISTICS] = ArrayRecord({STATISTICS: Array(statistics)})
    message = make_message(Metadata(1, "", 1, 2, "", "", 1e9, 10.0, "train"), content)
    parts = {name: part.deflate() for name, part in get_all_nested_objects(message).items()}
    with pytest.raises(PeerError, match="its records are others than ours"):
        read_update((message.object_id, parts))


@pytest.mark.parametrize("name", [ARRAY, STATISTICS])
def test_a_vector_of_the_other_dtype_is_refused(name: str) -> None:
    other: Vector = VECTOR.astype(np.float64) if name == ARRAY else VECTOR
    with pytest.raises(PeerError, match=f"its {name} are not float"):
        read_update(objects(array=other, name=name))


def test_the_dtype_of_a_vector_says_under_which_name_it_is_sent() -> None:
    assert name_of(VECTOR) == ARRAY
    assert name_of(VECTOR.astype(np.float64)) == STATISTICS


def test_a_message_may_come_without_an_array() -> None:
    assert read(objects(array=None)) == (b"fields", None)


def test_forging_nothing_changes_nothing() -> None:
    same = forged(objects(), "Array", lambda body: body)
    found, vector = read(same)
    assert found == b"fields"
    assert vector is not None
    assert vector.tobytes() == VECTOR.tobytes()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Array", described(shape=[10**12])),
        ("Array", described(shape=[-1])),
        ("Array", described(shape=[300, 1])),
        ("Array", described(shape="300")),
        ("Array", described(dtype="object")),
        ("Array", described(stype="torch")),
        ("Array", described(arraychunk_ids=[0] * 1_000)),
        ("Array", described(arraychunk_ids=[5])),
        ("Array", described(arraychunk_ids=[])),
        ("Array", lambda _: b"[" * 100_000),
        ("ArrayChunk", lambda body: body[:-1]),
        ("ArrayChunk", lambda body: body + b"\x00"),
        ("ArrayChunk", lambda body: body.replace(b"(300,)", b"(301,)")),
        ("ArrayChunk", lambda body: body.replace(b"<f4", b"|O ")),
        ("ArrayChunk", lambda _: b"no array"),
        ("ConfigRecord", lambda _: b"\xff\xff"),
        ("RecordDict", lambda _: b"{}"),
        ("RecordDict", lambda _: b"[]"),
    ],
)
def test_a_forged_part_is_refused_in_a_sentence(
    kind: str, change: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(PeerError, match="The coordinator sent a message that is not one of"):
        read_forged(kind, change)


def read_forged(kind: str, change: Callable[[bytes], bytes]) -> None:
    def inflate(content: bytes) -> ConfigRecord:
        try:
            return ConfigRecord.inflate(content)
        except Exception as error:
            raise ValueError("broken") from error

    read_message(*forged(objects(), kind, change), inflate, sender="coordinator")


@given(st.data())
def test_a_damaged_byte_is_refused(data: st.DataObject) -> None:
    root, parts = objects()
    name = data.draw(st.sampled_from(sorted(parts)))
    at = data.draw(st.integers(0, len(parts[name]) - 1))
    flipped = bytes([parts[name][at] ^ data.draw(st.integers(1, 255))])
    parts[name] = parts[name][:at] + flipped + parts[name][at + 1 :]
    with pytest.raises(PeerError):
        read((root, parts))


def test_a_part_named_again_and_again_is_not_put_together() -> None:
    bomb = forged(objects(), "Array", described(shape=[10**9], arraychunk_ids=[0] * 10**6))
    with pytest.raises(PeerError, match="its array is too long"):
        read(bomb)


def test_a_part_that_is_there_twice_travels_once() -> None:
    zeros = np.zeros(4 * 2**20, np.float32)
    root, parts = objects(array=zeros)
    assert sum(map(len, parts.values())) < zeros.nbytes
    _, vector = read((root, parts))
    assert vector is not None
    assert vector.tobytes() == zeros.tobytes()


def test_a_missing_part_is_refused() -> None:
    root, parts = objects()
    for name in parts:
        with pytest.raises(PeerError):
            read((root, {key: value for key, value in parts.items() if key != name}))


def test_sender_and_receiver_give_a_message_the_same_digest() -> None:
    fields, vector = read(objects())
    assert digest(fields, vector) == digest(b"fields", VECTOR)
    assert digest(b"fields", VECTOR[::-1]) == digest(b"fields", VECTOR[::-1].copy())
    assert digest(b"fields", VECTOR.astype(">f4")) == digest(b"fields", VECTOR)


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_messages_that_differ_have_digests_that_differ(one: bytes, other: bytes) -> None:
    vectors = [None, VECTOR[:0], VECTOR, VECTOR.astype(np.float64), -VECTOR]
    digests = {digest(fields, vector) for fields in (one, other) for vector in vectors}
    assert len(digests) == len({one, other}) * len(vectors)
