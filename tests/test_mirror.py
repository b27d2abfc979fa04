"""Every module has a test of its name, or a line here that says where it is tested."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "headwater": "headwater",
    "models/headwater_models": "models",
    "agent/headwater_agent": "agent",
    "coordinator/headwater_coordinator": "coordinator",
    "simulator/headwater_simulator": "simulator",
}
FEDERATION = "coordinator/headwater_coordinator/federation"
ELSEWHERE = {
    "headwater/metrics_settings.py": "agent/test_settings_rules.py",
    "models/headwater_models/graphs/builders/specification.py": "data only",
    "models/headwater_models/graphs/importing/specification.py": "data only",
    "models/headwater_models/new.py": "models/test_cli.py",
    "models/headwater_models/zipped.py": "models/test_container.py",
    "models/headwater_models/report.py": "models/test_cli.py",
    "models/headwater_models/offline/card.py": "models/offline/test_commands.py",
    "models/headwater_models/offline/screen.py": "models/offline/test_commands.py",
    "models/headwater_models/statistics/learner.py": "models/statistics/test_solving.py",
    "agent/headwater_agent/answers.py": "agent/test_training.py, simulator/test_fleet.py",
    "agent/headwater_agent/correspondence.py": "data only",
    "agent/headwater_agent/beside_settings.py": "agent/test_beside.py",
    "agent/headwater_agent/broker_settings.py": "agent/test_settings_rules.py",
    "agent/headwater_agent/drift_settings.py": "data only",
    "agent/headwater_agent/events.py": "data only",
    "agent/headwater_agent/federation_settings.py": "agent/test_settings_rules.py",
    "agent/headwater_agent/guard/look.py": "agent/guard/test_moves.py, agent/guard/test_stretch.py",
    "agent/headwater_agent/guard/settings.py": "data only",
    "agent/headwater_agent/output_settings.py": "data only",
    "agent/headwater_agent/pipeline_settings.py": "data only",
    "agent/headwater_agent/threshold_settings.py": "agent/test_threshold.py",
    "agent/headwater_agent/wishes.py": "data only",
    "agent/headwater_agent/fleet.py": "system/test_fleet_contract.py",
    "agent/headwater_agent/flower.py": "system/test_fleet_contract.py",
    "coordinator/headwater_coordinator/app.py": "system/test_coordinator.py",
    "coordinator/headwater_coordinator/backoff.py": "coordinator/test_doctests.py",
    "coordinator/headwater_coordinator/child.py": "simulator/test_processes.py",
    "coordinator/headwater_coordinator/devices.py": "coordinator/test_database.py",
    "coordinator/headwater_coordinator/events.py": "data only",
    "coordinator/headwater_coordinator/history.py": "coordinator/test_quarantine.py",
    f"{FEDERATION}/candidacy.py": "coordinator/federation/test_core.py",
    f"{FEDERATION}/discipline.py": "coordinator/federation/test_promises.py",
    f"{FEDERATION}/tally.py": "coordinator/federation/test_rounds.py",
    "coordinator/headwater_coordinator/flower.py": "system/test_coordinator.py",
    "coordinator/headwater_coordinator/link.py": "coordinator/test_coordinator.py",
    "coordinator/headwater_coordinator/migrations.py": "coordinator/test_database.py",
    "coordinator/headwater_coordinator/quarantine_cli.py": "coordinator/test_cli.py",
    "coordinator/headwater_coordinator/report.py": "coordinator/test_cli.py",
    "coordinator/headwater_coordinator/serving.py": "system/test_coordinator.py",
    "coordinator/headwater_coordinator/state.py": "data only",
    "coordinator/headwater_coordinator/status.py": "coordinator/test_cli.py",
    "coordinator/headwater_coordinator/steering_cli.py": "coordinator/test_cli.py",
    "coordinator/headwater_coordinator/template.py": "coordinator/test_settings.py",
    "coordinator/headwater_coordinator/versions.py": "coordinator/test_database.py",
    "coordinator/headwater_coordinator/viewing_cli.py": "coordinator/test_cli.py",
    "coordinator/headwater_coordinator/views.py": "coordinator/test_cli.py",
    "coordinator/headwater_coordinator/supervisor.py": "system/test_coordinator.py",
    "simulator/headwater_simulator/broker.py": "simulator/test_publisher.py",
    "simulator/headwater_simulator/demo.py": "system/test_demo.py",
    "simulator/headwater_simulator/device.py": "simulator/test_fleet.py",
    "simulator/headwater_simulator/live/engine.py": "system/test_live_engine.py",
    "simulator/headwater_simulator/live/fleet.py": "system/test_killed_at_random.py",
    "simulator/headwater_simulator/live/running.py": "system/test_live_engine.py",
    "simulator/headwater_simulator/virtual/cohort.py": "simulator/virtual/test_training.py",
    "simulator/headwater_simulator/virtual/disturbances.py": "simulator/virtual/test_engine.py",
    "simulator/headwater_simulator/virtual/processor.py": "simulator/virtual/test_engine.py",
    "simulator/headwater_simulator/virtual/taking.py": "simulator/virtual/test_engine.py",
    "simulator/headwater_simulator/virtual/tasks.py": "simulator/virtual/test_engine.py",
}

MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if not path.name.startswith("__")
)


def twin(module: str) -> Path:
    """Where the test of a module belongs."""
    package = next(p for p in PACKAGES if module.startswith(f"{p}/"))
    inside = Path(module).relative_to(package)
    return ROOT / "tests" / PACKAGES[package] / inside.with_name(f"test_{inside.name}")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_tested_where_one_would_look(module: str) -> None:
    assert twin(module).exists() != (module in ELSEWHERE)


def test_every_exemption_is_of_a_module_that_is_there() -> None:
    assert set(ELSEWHERE) <= set(MODULES)
