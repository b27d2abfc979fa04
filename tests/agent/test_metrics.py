from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from headwater import wire
from headwater_agent.live import LATENCY_BOUNDS_S, LiveReport
from headwater_agent.metrics import Facts, families, read_facts, render
from headwater_agent.ranking import Rank
from headwater_agent.settings import AgentSettings
from headwater_agent.status import SyncStatus
from tests.agent.agent_toml import SMALLEST, load
from tests.agent.test_runtime import prepare, until
from tests.conftest import free_port, wait_for_port

CHECKED_IN = wire.CheckedIn(
    device="d1", model="a" * 64, version="b" * 64, sequence=7, records=1234, examples=5, scored=4
)
LIVE = LiveReport(
    connected=True,
    trouble="",
    records_per_s=12.0,
    latency_p50_ms=1.5,
    latency_p99_ms=9.25,
    latency_counts=(3, 2, *[0] * (len(LATENCY_BOUNDS_S) - 2), 1),
    latency_sum_s=4.5,
    predictions=6,
    refused={"refused-late": 4, "refused-json": 1, "unsent": 8, "repeated": 3},
    marked={"spike": 2},
    steps=9,
    errors={"baseline": 4.0, "released": 3.0, "personal": 2.0, "served": 1.0},
    serves_personal=True,
    silent=("roof", "cellar"),
)
SYNC = SyncStatus(version="b", received_ms=2_000, sent_ms=3_500, answers=2, bytes_sent=4096)
BESIDE = (
    Rank(name="night", version="c" * 64, labels=5, error=2.5, recent=1.5),
    Rank(name="day", version="d" * 64, labels=0, error=0.0, recent=0.0),
)
ALL = Facts(
    device="d1",
    checked_in=CHECKED_IN,
    live=LIVE,
    written_s=5.5,
    sync=SYNC,
    store_bytes=77,
    beside=BESIDE,
)


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    return load(tmp_path, SMALLEST)


def samples(facts: Facts) -> dict[str, float]:
    """The samples as a scraper reads them, by their name and labels."""
    found = {}
    for family in text_string_to_metric_families(render(facts).decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_every_figure_can_be_scraped() -> None:
    found = samples(ALL)
    about = f"device=d1,model={'a' * 64},program_version=0.1.0,version={'b' * 64}"
    assert found.pop(f"headwater_agent_info{{{about}}}") == 1
    buckets = {name: found.pop(name) for name in list(found) if "_bucket{" in name}
    assert found == {
        "headwater_agent_store_bytes": 77,
        "headwater_agent_version_sequence": 7,
        "headwater_agent_records_total": 1234,
        "headwater_agent_examples_total": 5,
        "headwater_agent_labels_total": 4,
        "headwater_agent_alarms_total": 0,
        "headwater_agent_last_report_timestamp_seconds": 5.5,
        "headwater_agent_connected": 1,
        "headwater_agent_predictions_total": 6,
        "headwater_agent_unsent_messages_total": 8,
        "headwater_agent_not_taken_messages_total": 0,
        "headwater_agent_repeated_messages_total": 3,
        "headwater_agent_refused_total{reason=late}": 4,
        "headwater_agent_refused_total{reason=json}": 1,
        "headwater_agent_marked_total{reason=spike}": 2,
        "headwater_agent_learning_steps_total": 9,
        "headwater_agent_serving_personal": 1,
        "headwater_agent_silent_streams": 2,
        "headwater_agent_recent_error{model=baseline}": 4,
        "headwater_agent_recent_error{model=released}": 3,
        "headwater_agent_recent_error{model=personal}": 2,
        "headwater_agent_recent_error{model=served}": 1,
        "headwater_agent_beside_labels_total{model=night}": 5,
        "headwater_agent_beside_labels_total{model=day}": 0,
        "headwater_agent_beside_recent_error{model=night}": 1.5,
        "headwater_agent_prediction_latency_seconds_sum": 4.5,
        "headwater_agent_prediction_latency_seconds_count": 6,
        "headwater_agent_sent_bytes_total": 4096,
        "headwater_agent_answers_total": 2,
        "headwater_agent_last_answer_timestamp_seconds": 3.5,
        "headwater_agent_last_release_timestamp_seconds": 2,
    }
    counts = [
        buckets[f"headwater_agent_prediction_latency_seconds_bucket{{le={bound}}}"]
        for bound in (0.001, 0.0025, 2.5, "+Inf")
    ]
    assert counts == [3, 5, 5, 6]


def test_every_metric_says_what_it_is() -> None:
    made: list[Metric] = list(families(ALL))
    assert all(metric.documentation.endswith(".") for metric in made)
    assert len({metric.name for metric in made}) == len(made)


def test_what_is_not_known_is_left_out(settings: AgentSettings) -> None:
    facts = read_facts(settings)
    assert facts.live is None
    assert set(samples(facts)) == {
        "headwater_agent_store_bytes",
        "headwater_agent_sent_bytes_total",
        "headwater_agent_answers_total",
    }


def test_figures_are_read_from_the_agents_files(settings: AgentSettings) -> None:
    for folder in (settings.agent_db.parent, settings.share):
        folder.mkdir(parents=True)
    (settings.share / "status.json").write_bytes(wire.encode(CHECKED_IN))
    settings.live.write_bytes(msgspec.json.encode(LIVE))
    (settings.agent_db.parent / "agent.db").write_bytes(b"12345")
    settings.beside_ranks.write_bytes(msgspec.json.encode(BESIDE))
    facts = read_facts(settings)
    assert facts.checked_in == CHECKED_IN
    assert facts.beside == BESIDE
    assert facts.live is None, "no agent runs, so what it last said does not hold"
    files = (settings.live, settings.beside_ranks)
    assert facts.store_bytes == 5 + sum(file.stat().st_size for file in files)


def test_an_agent_without_metrics_does_not_load_what_they_need() -> None:
    program = "import sys, headwater_agent.runtime; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_running_agent_can_be_scraped(tmp_path: Path, mosquitto: int) -> None:
    port = free_port()
    prepare(tmp_path, mosquitto, more=f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
    command = [sys.executable, "-m", "headwater", "agent", "run"]
    with subprocess.Popen([*command, "--settings", str(tmp_path / "agent.toml")]) as process:
        wait_for_port(port)
        url = f"http://127.0.0.1:{port}/metrics"
        until(lambda: "headwater_agent_connected 1.0" in httpx.get(url).text)
        process.terminate()
        assert process.wait(30) == 0
