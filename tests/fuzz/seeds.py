"""What fuzzing begins with: payloads as devices send them, and as attackers do."""

from __future__ import annotations

READINGS = (
    b'{"level": 1.5, "flow": 20}',
    b'{"level": 1.25, "flow": null, "battery": 87, "radio": {"rssi": -71, "via": ["gw1", "gw2"]}}',
    b'{"level": "1.5", "flow": true, "unit": "m"}',
    b'[{"level": 1, "flow": 2}, {"level": 3}, "online", null]',
    b'{"level": NaN, "flow": Infinity}',
    b'{"level": 1e999, "flow": -1e39, "level": 2}',
    b'{"time": "2023-11-14T22:13:20.250+01:00", "id": "tank-7", "level": 2, "data": {"q": 3}}',
    b'{"time": 1700000000000, "id": 17, "level": 0, "data.q": 1, "flow": 0.0}',
    b'{"time": "1700000000", "id": "\\ud83d\\udca7", "data": {"q": "7,5"}, "level": [1]}',
    b"21.5",
    b'"nan"',
    b"online",
    b"",
    b"null",
    b'\xef\xbb\xbf{"level": 1, "flow": 2}',
    '{"level": 1, "flow": 2}'.encode("utf-16"),
    '{"level": 1, "flow": 2, "place": "K\xfcche"}'.encode("latin-1"),
)
"""Objects, arrays, texts and bare values; times and names in the payload; nearly JSON."""

LABELS = (
    b'{"label": 2.5}',
    b'{"label": 2.5, "time": 1700000000000, "of": "0123456789abcdef"}',
    b'[{"label": 1}, {"label": "no number"}, 3]',
    b"2.5",
)

HOSTILE = (
    b"[" * 2_000,
    b'{"label":' * 70 + b"1" + b"}" * 70,
    b'{"level": ' + b"[" * 70 + b"]" * 70 + b', "flow": 1}',
    b'{"level": 1, "flow": 2, "x": ' + b'{"y":' * 400 + b"0" + b"}" * 401,
    b"{%s}" % b",".join(b'"%d":%d' % (i, i) for i in range(500)),
    b"[%s]" % b",".join([b'{"level":1}'] * 200),
    b'{"level": 1' + b"0" * 400 + b', "flow": -1' + b"0" * 5_000 + b"}",
    b'{"time": ' + b"9" * 4_000 + b', "level": 1, "flow": 1, "id": ' + b"9" * 30 + b"}",
    b'{"time": "9999-12-31T23:59:59.999999-23:59", "level": 1, "flow": 1, "id": "a"}',
    b'{"id": "a\\u0000b", "time": "2023-11-14", "level\\u0000": 1, "data": {"q": 1}}',
    b'{"id": "\\ud800", "of": "\\udfff", "label": 1, "level": 1, "flow": 2}',
    b'{"level": "\xed\xa0\x80", "flow": "\xff"}',
    b'{"level": "1_000", "flow": "\xd9\xa1\xd9\xa2", "label": " 1e5 "}',
)

KEYS = (
    *(b'"level"', b'"flow"', b'"time"', b'"id"', b'"data"', b'"label"', b'"of"', b'"other"'),
    *(b'"q"', b'"data.q"', b'"level\\u0000"', b'"\xff"'),
)
VALUES = (
    *(b"0", b"1", b"1.5", b"2.25", b"-0.0", b"9.9", b"20", b"1e-400", b"1e39", b"-1e999"),
    *(b"NaN", b"-Infinity", b"null", b"true", b"false", b'""', b'"1.5"', b'"nan"', b'"a"'),
    *(b'"b"', b"[]", b"{}", b"[1.5]", b'{"q": 2}', b'{"q": null}', b'"\\ud800"', b'"\xff"'),
    *(b"1700000000", b"1700000600000", b"1700000600000000000", b"9" * 30, b"9" * 400),
    *(b"9" * 5_000, b'"2023-11-14T22:20:00Z"', b'"9999-12-31T23:59:59-23:59"', b'"1e400"'),
    *(b"[" * 70 + b"]" * 70, b'"%s"' % (b"x" * 200), b'"\\u0000"', b"-1", b"10.1", b"soon"),
)
"""What objects are put together from, where bytes are taken for a recipe."""
