"""Refuse a graph that could make the runtime read another file, without importing ``onnx``.

An ONNX tensor may say that its data lie in a file beside the model. The runtime would follow
that path, so no such tensor may reach it. This walks the protobuf encoding
(https://protobuf.dev/programming-guides/encoding/) along every path of ``onnx.proto`` that ends
in a tensor, and refuses each field it does not know, so nothing goes unseen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from headwater.errors import BundleError

_MAX_DEPTH = 32
_MAX_FIELDS = 1_000_000
_ORT_FORMAT = b"ORTM"
_EXTERNAL_DATA = 13
_DATA_LOCATION = 14

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class _Message:
    """The field numbers of a message that are skipped, and those that are walked into."""

    skipped: frozenset[int]
    walked: dict[int, str] = field(default_factory=dict)


def _message(*skipped: int, **walked: tuple[int, ...]) -> _Message:
    paths = {number: name for name, numbers in walked.items() for number in numbers}
    return _Message(frozenset(skipped), paths)


_MESSAGES = {
    "model": _message(1, 2, 3, 4, 5, 6, 8, 14, 26, graph=(7,), training=(20,), function=(25,)),
    "graph": _message(2, 10, 11, 12, 13, 14, 16, node=(1,), tensor=(5,), sparse=(15,)),
    "node": _message(1, 2, 3, 4, 6, 7, 8, 9, 10, attribute=(5,)),
    "attribute": _message(
        1, 2, 3, 4, 7, 8, 9, 13, 14, 15, 20, 21, tensor=(5, 10), graph=(6, 11), sparse=(22, 23)
    ),
    "sparse": _message(3, tensor=(1, 2)),
    "function": _message(1, 4, 5, 6, 8, 9, 10, 12, 13, 14, node=(7,), attribute=(11,)),
    "training": _message(3, 4, graph=(1, 2)),
    "tensor": _message(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16),
}


def refuse_external_data(name: str, graph: bytes) -> None:
    """Refuse a graph file that is no plain, self-contained ONNX model.

    Parameters
    ----------
    name
        What to call the file in an error.
    graph
        A serialized ``ModelProto``.

    Raises
    ------
    BundleError
        When it is damaged, of another format, or has a tensor outside the file.
    """
    if graph[4:8] == _ORT_FORMAT:
        raise BundleError(f"{name} is in ORT format; a bundle holds ONNX graphs only.")
    _Walk(name).message("model", memoryview(graph), 0)


class _Walk:
    """One pass over a file; counts fields, so that a crafted file cannot keep it busy."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = _MAX_FIELDS

    def message(self, kind: str, data: memoryview, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise self._damaged("it is nested too deep")
        known = _MESSAGES[kind]
        for number, value in self._fields(data):
            if number in known.walked:
                if not isinstance(value, memoryview):
                    raise self._damaged(f"field {number} of a {kind} has another type")
                self.message(known.walked[number], value, depth + 1)
            elif kind == "tensor" and _is_external(number, value):
                raise BundleError(
                    f"{self._name} keeps a tensor in another file; "
                    "save it with all data inside and build the bundle again."
                )
            elif number not in known.skipped:
                raise self._damaged(f"a {kind} has the unknown field {number}")

    def _fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        at = 0
        while at < len(data):
            self._left -= 1
            if self._left < 0:
                raise self._damaged(f"it has more than {_MAX_FIELDS} fields")
            key, at = self._varint(data, at)
            value, at = self._value(key & 7, data, at)
            yield key >> 3, value

    def _value(self, wire: int, data: memoryview, at: int) -> tuple[int | memoryview, int]:
        if wire == _VARINT:
            return self._varint(data, at)
        if wire == _BYTES:
            size, at = self._varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise self._damaged(f"wire type {wire} does not occur in ONNX")
        if size > len(data) - at:
            raise self._damaged("it ends too early")
        return data[at : at + size], at + size

    def _varint(self, data: memoryview, at: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= len(data):
                raise self._damaged("it ends too early")
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        raise self._damaged("a number in it is too long")

    def _damaged(self, why: str) -> BundleError:
        return BundleError(f"{self._name} is no ONNX graph that can be used: {why}.")


def _is_external(number: int, value: int | memoryview) -> bool:
    return number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
