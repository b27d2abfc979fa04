from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headwater import wire
from headwater_agent.compressing import SUFFIX
from headwater_agent.events import Refine, Refined
from headwater_agent.exchange import Exchange
from headwater_agent.jobs import ATTEMPTS, Jobs
from headwater_agent.outcome import Outcome, find_outcomes
from headwater_agent.settings import AgentSettings
from headwater_models.arrays import packed_bytes
from tests.agent.federating import PUBLIC_SETTINGS, device, settings, task_name, train
from tests.agent.test_training import ask, fill

LONGEST = packed_bytes(device().manifest)


class Owner:
    """The agent's side of the jobs: numbers updates, and waits for trainers."""

    def __init__(self, folder: Path) -> None:
        self.settings: AgentSettings = settings(folder)
        (folder / "agent.toml").write_text(PUBLIC_SETTINGS)
        self.begun: list[tuple[str, str]] = []
        self.refined: list[Refined] = []
        self.jobs = Jobs(
            self.settings,
            folder / "agent.toml",
            manifest=device().manifest,
            begin=self._begin,
            refined=self.refined.append,
        )

    def outcomes(self) -> list[Outcome]:
        found = find_outcomes(self.settings.share, LONGEST)
        return [outcome for outcome in found if isinstance(outcome, Outcome)]

    def poll_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline
            self.jobs.poll()
            time.sleep(0.02)

    def _begin(self, task: str, base: str) -> int:
        self.begun.append((task, base))
        return len(self.begun)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    made = Owner(tmp_path)
    yield made
    made.jobs.stop()


def test_without_a_task_nothing_is_started(owner: Owner) -> None:
    owner.jobs.poll()
    assert owner.begun == []
    assert owner.outcomes() == []


def test_a_task_is_trained_once_and_cleared_away_when_it_was_answered(owner: Owner) -> None:
    fill(owner.settings, learned=100, reserved=0)
    ask(owner.settings, train())
    owner.poll_until(lambda: bool(owner.outcomes()))
    for _ in range(3):
        owner.jobs.poll()
    (outcome,) = owner.outcomes()
    assert isinstance(outcome.reply, wire.Update)
    assert outcome.reply.sequence == 1
    assert owner.begun == [(task_name(1), device().current.version)]
    with closing(Exchange(owner.settings.exchange_db)) as exchange:
        exchange.settle(task_name(1), "answered", 0)
    owner.poll_until(lambda: not owner.outcomes())


def test_a_killed_trainer_is_started_again_as_an_update_of_its_own(owner: Owner) -> None:
    fill(owner.settings, learned=100, reserved=0)
    ask(owner.settings, train())
    owner.jobs.poll()
    assert owner.jobs.pid is not None
    os.kill(owner.jobs.pid, signal.SIGKILL)
    owner.poll_until(lambda: bool(owner.outcomes()))
    (outcome,) = owner.outcomes()
    assert isinstance(outcome.reply, wire.Update)
    assert outcome.reply.sequence == len(owner.begun) == 2


def test_a_trainer_that_always_dies_leads_to_a_refusal(owner: Owner) -> None:
    ask(owner.settings, train())
    owner.settings.agent_db.parent.mkdir(parents=True, exist_ok=True)
    owner.settings.agent_db.write_bytes(b"this is no database")
    owner.poll_until(lambda: bool(owner.outcomes()))
    (outcome,) = owner.outcomes()
    assert outcome.reply == wire.Declined(
        device=owner.settings.device, task=task_name(1), reason="failed"
    )
    assert len(owner.begun) == ATTEMPTS


def test_stopping_ends_a_running_trainer(owner: Owner) -> None:
    fill(owner.settings, learned=100, reserved=0)
    ask(owner.settings, train())
    owner.jobs.poll()
    pid = owner.jobs.pid
    assert pid is not None
    owner.jobs.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def refine(version: str) -> Refine:
    return Refine(version, {})


def test_the_personal_model_is_refined_when_no_task_waits(owner: Owner) -> None:
    fill(owner.settings, learned=100, reserved=0)
    ask(owner.settings, train())
    version = device().current.version
    owner.jobs.refine(refine(version))
    owner.poll_until(lambda: bool(owner.outcomes()))
    assert owner.refined == []
    owner.poll_until(lambda: bool(owner.refined))
    (event,) = owner.refined
    assert event.version == version
    assert event.parameters is not None
    assert event.parameters.keys() == {array.name for array in device().manifest.arrays}
    assert not owner.settings.refined.exists()


def test_a_refinement_that_fails_says_so_and_leaves_the_model_alone(owner: Owner) -> None:
    fill(owner.settings, learned=100, reserved=0)
    owner.jobs.refine(refine("0" * 64))
    owner.poll_until(lambda: bool(owner.refined))
    assert [event.parameters for event in owner.refined] == [None]


def test_too_few_examples_are_not_refined_on(owner: Owner) -> None:
    fill(owner.settings, learned=5, reserved=0)
    owner.jobs.refine(refine(device().current.version))
    owner.poll_until(lambda: bool(owner.refined))
    assert [event.parameters for event in owner.refined] == [None]


def test_while_the_owner_paused_it_no_task_is_started_and_refining_goes_on(owner: Owner) -> None:
    fill(owner.settings, learned=100, reserved=0)
    ask(owner.settings, train())
    owner.jobs.paused = True
    owner.jobs.refine(refine(device().current.version))
    owner.poll_until(lambda: bool(owner.refined))
    assert (owner.outcomes(), owner.begun) == ([], [])
    owner.jobs.paused = False
    owner.poll_until(lambda: bool(owner.outcomes()))


def test_what_is_under_way_or_done_and_has_not_left_is_forgotten(owner: Owner) -> None:
    fill(owner.settings, learned=100, reserved=0)
    ask(owner.settings, train())
    owner.poll_until(lambda: bool(owner.outcomes()))
    with closing(Exchange(owner.settings.exchange_db)) as exchange:
        exchange.settle(task_name(1), "answered", 0)
    owner.jobs.refine(refine(device().current.version))
    owner.poll_until(lambda: owner.jobs.pid is not None)
    pid = owner.jobs.pid
    assert pid is not None
    lost = owner.settings.refined.with_name(f"{device().manifest.name}{SUFFIX}")
    lost.write_bytes(b"")
    owner.jobs.forget()
    assert not lost.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    owner.jobs.poll()
    assert (owner.outcomes(), owner.refined) == ([], [])
