"""The command refuses a case that it does not know and prints one object last."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benchmarks.agent.__main__ import app


def test_an_unknown_case_is_refused_by_name() -> None:
    result = CliRunner().invoke(app, ["latencies"])
    assert result.exit_code == 2
    assert "latencies" in result.output


@pytest.mark.system
@pytest.mark.usefixtures("mosquitto")
def test_a_quick_run_ends_with_one_object() -> None:
    result = CliRunner().invoke(app, ["streams", "--quick", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["benchmark"] == "agent"
    assert found["figures"]["events_3_streams"]["ours"] > 0
    assert found["figures"]["events_3_streams"]["naive_script"] > 0
    assert found["figures"]["events_3_streams_lost"] == 0
    assert found["figures"]["events_3_streams_stored"] == 1
