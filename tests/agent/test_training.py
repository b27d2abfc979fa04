from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headwater import wire
from headwater.errors import StorageError
from headwater.objects import Vector
from headwater_agent import events, training
from headwater_agent.answers import (
    MIN_EXAMPLES,
    MIN_ROWS,
    DeclinedError,
    data_until,
    tell_update,
)
from headwater_agent.client import Delivered
from headwater_agent.correspondence import StoredTask
from headwater_agent.events import Example, Row
from headwater_agent.exchange import Exchange
from headwater_agent.gathering import Offer
from headwater_agent.outcome import SUFFIX, Outcome, find_outcomes
from headwater_agent.outgoing import check_outgoing
from headwater_agent.pipeline import Pipeline
from headwater_agent.pipeline_settings import PipelineSettings
from headwater_agent.releases import first_version
from headwater_agent.settings import AgentSettings, Learn, StoreSettings
from headwater_agent.sqlite_store import SqliteStore
from headwater_agent.store import Update
from headwater_agent.training import Work
from headwater_models.arrays import State, pack_statistics, packed_bytes, packed_size
from headwater_models.bundle import Bundle
from headwater_models.graphs.builders import build
from headwater_models.weights import save_weights
from tests.agent.federating import (
    NAME,
    Floats,
    device,
    evaluate,
    name_of,
    settings,
    task_name,
    train,
    weights,
)
from tests.models.bundles import CREATED, PUBLISHER, RELEASE, spec
from tests.models.statistics.gathered import gather, some_data

MINUTE = 60_000
MANIFEST = device().manifest


def fill(made: AgentSettings, *, learned: int, reserved: int) -> None:
    """Store rows of a rising level, and examples of which the label is the level one higher."""
    rows = tuple(
        Row("s", slot, np.array([slot % 7, 1], np.float32), np.ones(2, np.bool_))
        for slot in range(learned + reserved + 5)
    )
    examples = tuple(
        Example(
            number + 1,
            "s",
            (number + 3) * MINUTE,
            np.zeros((3, 2), np.float32),
            float((number + 3) % 7 + 1),
            number >= learned,
        )
        for number in range(learned + reserved)
    )
    with closing(SqliteStore(made.agent_db, MANIFEST, StoreSettings())) as store:
        store.write([events.Store(rows=rows, examples=examples)])


def ask(made: AgentSettings, message: Delivered, number: int = 1) -> StoredTask:
    """Store a task as the federation client does."""
    task = StoredTask(task_name(number), message.kind, message.fields, message.flower, 0)
    with closing(Exchange(made.exchange_db)) as exchange:
        exchange.keep(task, None)
    return task


def receive(made: AgentSettings, seed: int) -> None:
    """Store a candidate's weights as the federation client does."""
    name = name_of(weights(seed))
    (made.exchange / "versions").mkdir(exist_ok=True)
    save_weights(made.exchange / "versions" / f"{name}.safetensors", weights(seed))


def outcome(made: AgentSettings) -> tuple[wire.Reply, Floats | None]:
    """The one outcome in the shared folder."""
    (found,) = find_outcomes(made.share, packed_bytes(MANIFEST))
    assert isinstance(found, Outcome)
    return found.reply, found.array


def test_a_training_task_becomes_an_update_that_may_leave(tmp_path: Path) -> None:
    made = settings(tmp_path)
    fill(made, learned=200, reserved=30)
    task = ask(made, train())
    Work(made).do(task_name(1), sequence=4)
    reply, array = outcome(made)
    check_outgoing(device(), task, reply, array)
    assert isinstance(reply, wire.Update)
    assert (reply.sequence, reply.examples, reply.base) == (4, 200, device().current.version)
    assert reply.loss_after < reply.loss_before
    assert array is not None
    assert np.abs(array).max() > 0
    newest = (200 + 2) * MINUTE
    assert reply.data_until_ms == (newest // MANIFEST.reserve.block + 1) * MANIFEST.reserve.block


def test_an_update_reaches_as_far_as_the_personal_model_did_when_it_was_begun(
    tmp_path: Path,
) -> None:
    made = settings(tmp_path)
    fill(made, learned=200, reserved=0)
    ask(made, train())
    with closing(SqliteStore(made.agent_db, MANIFEST, StoreSettings())) as store:
        store.write([Update(4, task_name(1), device().current.version, 150, 0)])
    Work(made).do(task_name(1), sequence=4)
    reply, _ = outcome(made)
    assert isinstance(reply, wire.Update)
    assert reply.examples == 150


def terms(made: AgentSettings, number: int, **changes: object) -> Outcome:
    """What comes of a task to train with these terms."""
    plain = wire.decode_task(train(number).fields)
    fields = wire.encode(msgspec.structs.replace(plain, protocol=2, epochs=20, **changes))
    ask(made, replace(train(number), fields=fields), number)
    Work(made).do(task_name(number), sequence=number)
    (found,) = (
        one
        for one in find_outcomes(made.share, packed_bytes(MANIFEST))
        if isinstance(one, Outcome) and getattr(one.reply, "task", "") == task_name(number)
    )
    return found


def test_an_update_is_held_to_its_base_by_the_proximal_term(tmp_path: Path) -> None:
    made = settings(tmp_path)
    fill(made, learned=200, reserved=0)
    moved = []
    for number, mu in enumerate((0.0, 10.0, 1_000.0), 1):
        array = terms(made, number, proximal_mu=mu).array
        assert array is not None
        moved.append(float(np.linalg.norm(array)))
    assert 0 < moved[2] < 0.1 * moved[1] < 0.08 * moved[0]


def test_a_device_whose_budget_is_spent_sends_what_it_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = settings(tmp_path)
    fill(made, learned=200, reserved=0)
    now = iter(range(1_000))
    monkeypatch.setattr(training, "monotonic", lambda: float(next(now)))
    reply = terms(made, 1, budget_ms=2_000).reply
    assert isinstance(reply, wire.Update)
    assert reply.examples == 128  # two batches of 64, a second each
    declined = terms(made, 2, budget_ms=1_000, batch=32).reply
    assert isinstance(declined, wire.Declined)
    assert declined.reason == "too-few-examples"


def test_the_same_task_gives_the_same_bytes(tmp_path: Path) -> None:
    made = settings(tmp_path)
    fill(made, learned=100, reserved=0)
    ask(made, train())
    for _ in range(2):
        Work(made).do(task_name(1), sequence=4)
    assert len(list(made.share.glob(f"*{SUFFIX}"))) == 1


def test_it_starts_at_the_version_that_was_named(tmp_path: Path) -> None:
    made = settings(tmp_path)
    fill(made, learned=100, reserved=0)
    receive(made, seed=3)
    ask(made, train(1, base=name_of(weights(3))))
    Work(made).do(task_name(1), sequence=1)
    reply, array = outcome(made)
    assert isinstance(reply, wire.Update)
    assert reply.base == name_of(weights(3))
    assert array is not None
    assert np.abs(array).max() < 1


def test_a_candidate_is_judged_beside_the_release_on_reserved_rows(tmp_path: Path) -> None:
    made = settings(tmp_path)
    fill(made, learned=100, reserved=40)
    receive(made, seed=3)
    task = ask(made, evaluate(1, seed=3))
    Work(made).do(task_name(1), sequence=0)
    reply, array = outcome(made)
    check_outgoing(device(), task, reply, array)
    assert isinstance(reply, wire.Evaluated)
    assert reply.rows == 40
    assert reply.loss_release == reply.loss_baseline
    assert reply.difference_mean == pytest.approx(reply.loss_candidate - reply.loss_release)


@pytest.mark.parametrize("newer", [0, 30, 90])
def test_windows_that_begin_after_all_that_was_learned_from_are_judged_too(
    tmp_path: Path, newer: int
) -> None:
    made = settings(tmp_path)
    fill(made, learned=100, reserved=40)
    receive(made, seed=3)
    last = (99 + 3) * MINUTE
    after = last - MANIFEST.window * MINUTE - MANIFEST.horizon - newer * MINUTE
    delivered = evaluate(1, seed=3)
    message = wire.decode_task(delivered.fields)
    assert isinstance(message, wire.Evaluate)
    fields = wire.encode(msgspec.structs.replace(message, after_ms=after))
    ask(made, replace(delivered, fields=fields))
    Work(made).do(task_name(1), sequence=0)
    reply, _ = outcome(made)
    assert isinstance(reply, wire.Evaluated)
    assert reply.rows == 40 + newer


def test_too_few_examples_are_not_told_about(tmp_path: Path) -> None:
    made = settings(tmp_path)
    fill(made, learned=MIN_EXAMPLES - 1, reserved=MIN_ROWS - 1)
    receive(made, seed=3)
    ask(made, train(1), 1)
    ask(made, evaluate(2, seed=3), 2)
    for number in (1, 2):
        reply = Work(made).do(task_name(number), sequence=1)
        assert reply == wire.Declined(
            device=NAME, task=task_name(number), reason="too-few-examples"
        )


def test_a_device_that_may_not_learn_says_so(tmp_path: Path) -> None:
    made = msgspec.structs.replace(settings(tmp_path), learn=Learn(enabled=False))
    ask(made, train())
    reply = Work(made).do(task_name(1), sequence=1)
    assert reply == wire.Declined(device=NAME, task=task_name(1), reason="paused")
    assert outcome(made) == (reply, None)


def test_a_base_that_is_missing_or_changed_is_declined(tmp_path: Path) -> None:
    made = settings(tmp_path)
    base = name_of(weights(3))
    ask(made, train(1, base=base))
    path = made.exchange / "versions" / f"{base}.safetensors"
    for data, reason in ((None, "unknown-base"), (b"damaged", "bad-signature")):
        if data is not None:
            path.parent.mkdir()
            path.write_bytes(data)
        reply = Work(made).do(task_name(1), sequence=1)
        assert isinstance(reply, wire.Declined)
        assert reply.reason == reason
    save_weights(path, weights(4))
    reply = Work(made).do(task_name(1), sequence=1)
    assert isinstance(reply, wire.Declined)
    assert reply.reason == "bad-signature"


def test_an_update_that_is_not_finite_is_not_offered(tmp_path: Path) -> None:
    made = settings(tmp_path)
    fill(made, learned=100, reserved=0)
    enormous = {name: np.full_like(a, 3e38) for name, a in device().local.items()}
    name = name_of(enormous)
    (made.exchange / "versions").mkdir()
    save_weights(made.exchange / "versions" / f"{name}.safetensors", enormous)
    ask(made, train(1, base=name))
    reply = Work(made).do(task_name(1), sequence=1)
    assert reply == wire.Declined(device=NAME, task=task_name(1), reason="failed")


def test_an_update_that_is_large_but_finite_is_offered() -> None:
    size = packed_size(MANIFEST)
    change = np.full(size, 3e30, np.float32)
    assert not np.isfinite(np.vdot(change, change))

    def told(vector: Floats) -> tuple[wire.Update, Vector]:
        name = task_name(1)
        task = wire.Train(task=name, model=name, base=name, round=1)
        made = Offer(vector, 9, 1.0, 0.5)
        return tell_update(task, made, device=NAME, sequence=1, until=0)

    update, vector = told(change)
    assert (update.examples, vector is change) == (9, True)
    change[-1] = np.nan
    with pytest.raises(DeclinedError, match="failed"):
        told(change)


def test_an_update_is_of_data_up_to_the_end_of_a_block_and_of_no_data_there_is_none() -> None:
    block = int(MANIFEST.reserve.block)

    def rows(*times: int) -> events.Batch:
        count = len(times)
        return events.Batch(
            np.zeros((count, 2, 2), np.float32),
            np.array(times, np.int64),
            np.zeros((count, 1), np.float32),
            np.ones(count, np.float32),
        )

    assert data_until(MANIFEST, rows(3 * block + 1, 5 * block - 1, 0)) == 5 * block
    with pytest.raises(DeclinedError, match="too-few-examples"):
        data_until(MANIFEST, rows())


def test_a_task_that_is_not_there_is_explained(tmp_path: Path) -> None:
    made = settings(tmp_path)
    with pytest.raises(StorageError, match="holds no open task"):
        Work(made).do(task_name(1), sequence=1)


@cache
def solved() -> Bundle:
    """The small model with a head that is solved from statistics, signed."""
    built = build(msgspec.structs.replace(spec(), learner="ridge"), np.random.default_rng(0))
    bundle = Bundle(
        manifest=built.manifest, infer=built.infer, train=built.train, weights=built.weights
    )
    return bundle.sign(PUBLISHER, delegates=[RELEASE.public], created=CREATED)


def gathered(made: AgentSettings, count: int) -> State:
    """Let the agent's checkpoint hold what it gathered from so many examples."""
    pipeline = Pipeline(solved().manifest, first_version(solved()), PipelineSettings())
    state: State = gather(solved().manifest, some_data(solved().manifest, count))
    pipeline.learner.personal.trained(solved().weights, state, count)
    (checkpoint,) = pipeline.feed(events.Taken(4))
    assert isinstance(checkpoint, events.Checkpoint)
    with closing(SqliteStore(made.agent_db, MANIFEST, StoreSettings())) as store:
        store.write([checkpoint])
    return state


def test_of_a_model_of_statistics_all_that_was_ever_gathered_is_sent(tmp_path: Path) -> None:
    made = settings(tmp_path)
    solved().save(made.bundle, replace=True)
    fill(made, learned=60, reserved=0)
    state = gathered(made, 5_000)
    task = ask(made, train(base=solved().version_id, model=solved().model_id))

    Work(made).do(task_name(1), sequence=4)

    (found,) = find_outcomes(made.share, packed_bytes(solved().manifest))
    assert isinstance(found, Outcome)
    assert isinstance(found.reply, wire.Update)
    assert found.array is not None
    assert found.array.tobytes() == pack_statistics(solved().manifest, state).tobytes()
    assert (found.reply.examples, found.reply.sequence) == (5_000, 4)
    assert found.reply.loss_after < found.reply.loss_before
    check_outgoing(replace(device(), manifest=solved().manifest), task, found.reply, found.array)


def test_of_a_model_of_statistics_too_few_examples_are_declined(tmp_path: Path) -> None:
    made = settings(tmp_path)
    solved().save(made.bundle, replace=True)
    fill(made, learned=60, reserved=0)
    gathered(made, 49)
    ask(made, train(base=solved().version_id, model=solved().model_id))

    Work(made).do(task_name(1), sequence=4)

    assert outcome(made)[0] == wire.Declined(
        device=NAME, task=task_name(1), reason="too-few-examples"
    )
