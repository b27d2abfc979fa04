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
from headwater.objects import read_message

VECTOR = np.linspace(-1, 1, 300, dtype=np.float32)

Objects = tuple[str, dict[str, bytes]]


def objects(fields: bytes = b"fields", array: NDArray[np.float32] | None = VECTOR) -> Objects:
    """Take a message apart as Flower does."""
    content = RecordDict({"headwater": ConfigRecord({"fields": fields})})
    if array is not None:
        content["arrays"] = ArrayRecord({"arrays": Array(array)})
    message = make_message(Metadata(1, "", 1, 2, "", "", 1e9, 10.0, "train"), content)
    parts = {name: part.deflate() for name, part in get_all_nested_objects(message).items()}
    return message.object_id, parts


def read(made: Objects) -> tuple[bytes, NDArray[np.float32] | None]:
    return read_message(*made, ConfigRecord.inflate, sender="coordinator")


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
