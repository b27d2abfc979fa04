"""Latency is matched by what payloads say of their time, not by their order."""

from __future__ import annotations

import pytest

from benchmarks.agent.latency import beside_echo, event_time, latencies
from benchmarks.agent.stage import Trace


def test_answers_find_their_record_in_any_order_and_count_once() -> None:
    trace = Trace(
        sent=[(1.0, b'{"time": 1000}'), (2.0, b'{"time": 2000}'), (3.0, b'{"time": 3000}')],
        came=[
            (2.5, b'{"time": "1970-01-01T00:00:02.000Z"}'),
            (4.0, b'{"time": "1970-01-01T00:00:01.000Z"}'),
            (9.0, b'{"time": "1970-01-01T00:00:01.000Z"}'),
        ],
    )
    assert latencies(trace) == [3.0, 0.5]


def test_times_are_numbers_or_iso() -> None:
    assert event_time(b'{"time": 1735689600123}') == 1735689600123
    assert event_time(b'{"time": "2025-01-01T00:00:00.123Z"}') == 1735689600123


def test_a_multiple_of_the_echo_client_stands_beside_milliseconds() -> None:
    figures = beside_echo("latency_p50", {"ours": 0.003, "echo": 0.002, "echo_c": 0.001})
    figure = figures["latency_p50"]
    assert not isinstance(figure, float)
    assert figure.ours == pytest.approx(3)
    assert figure.peers == pytest.approx({"echo": 2, "echo_c": 1})
    assert figure.ratio == pytest.approx(2 / 3)
    assert figures["latency_p50_vs_echo"] == pytest.approx(1.5)
    assert "latency_p50_echo_onnx_vs_echo" not in figures


def test_what_inference_alone_adds_to_the_echo_stands_beside_it() -> None:
    figures = beside_echo("latency_p50", {"ours": 0.003, "echo": 0.002, "echo_onnx": 0.0025})
    assert figures["latency_p50_echo_onnx_vs_echo"] == pytest.approx(1.25)
