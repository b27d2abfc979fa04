from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater import wire
from headwater_agent.client import (
    ANSWERABLE_MS,
    Answered,
    Client,
    Delivered,
    Drop,
    Event,
    Found,
    Keep,
    Reported,
    Send,
    Settle,
    Ticked,
)
from headwater_agent.correspondence import StoredTask, StoredVersion
from headwater_agent.outcome import Outcome
from headwater_agent.verdict import delegated, holds
from tests.agent.federating import (
    NAME,
    check_in,
    delegation,
    delivered,
    device,
    evaluate,
    name_of,
    release,
    statement,
    task_name,
    train,
    update,
    weights,
)
from tests.agent.test_receipts import receipt
from tests.models.bundles import RELEASE, STRANGER


class Shell:
    """A disk and a network in memory around the core, which may be killed at any time."""

    def __init__(self) -> None:
        self.tasks: dict[str, StoredTask] = {}
        self.versions: dict[str, StoredVersion] = {}
        self.delegation: str | None = None
        self.answers: dict[str, list[tuple[bytes, bytes | None]]] = {}
        self.dropped: list[str] = []
        self.restart()

    def restart(self) -> None:
        """Start again from what is stored."""
        own = delegated(device(), self.delegation)
        self.client = Client(
            own,
            tasks=[task for task in self.tasks.values() if task.state == "open"],
            settled=[name for name, task in self.tasks.items() if task.state != "open"],
            versions=[version for version in self.versions.values() if holds(own, version)],
        )

    def feed(self, event: Event, now: int = 0, *, online: bool = True) -> None:
        """Do what the core says; *online* says whether answers arrive."""
        for effect in self.client.feed(event, now):
            match effect:
                case Keep(task, version):
                    self.tasks[task.task] = task
                    self.delegation = effect.delegation or self.delegation
                    if version is not None:
                        self.versions[version.version] = version
                case Send(task, fields, array, outcome):
                    stored = self.tasks[task.task]
                    self.tasks[task.task] = replace(stored, reply=fields, outcome=outcome)
                    raw = None if array is None else array.tobytes()
                    self.answers.setdefault(task.task, []).append((fields, raw))
                    if online:
                        self.feed(Answered(task.task, "sent"), now)
                case Settle(name, state):
                    self.tasks[name] = replace(self.tasks[name], state=state)
                case Drop(reason):
                    self.dropped.append(reason)

    def answer(self, name: str) -> wire.Reply:
        """The one answer to a task."""
        ((fields, _),) = set(self.answers[name])
        return wire.decode_reply(fields)


def only(names: Iterable[str]) -> str:
    (name,) = names
    return name


def found(number: int = 1, seed: int = 5) -> Found:
    reply, array = update(number, seed)
    return Found(Outcome(f"{seed:064x}", reply, array))


def test_a_check_in_is_answered_with_what_the_agent_reports() -> None:
    shell = Shell()
    shell.feed(check_in())
    assert not shell.answers
    own = device().current
    status = wire.CheckedIn(
        device=NAME, model=own.model, version=own.version, sequence=1, records=7
    )
    shell.feed(Reported(status))
    assert shell.answer(only(shell.answers)) == status
    assert shell.client.idle


def test_a_check_in_is_answered_without_counts_when_the_agent_is_silent_or_strange() -> None:
    own = device().current
    strange = wire.CheckedIn(device="other", model=own.model, version=own.version, sequence=9)
    for status in (None, strange):
        shell = Shell()
        shell.feed(check_in())
        shell.feed(Reported(status))
        expected = wire.CheckedIn(device=NAME, model=own.model, version=own.version, sequence=1)
        assert shell.answer(only(shell.answers)) == expected


def test_receipts_come_with_a_check_in_and_are_kept_apart_from_it() -> None:
    client = Client(device())
    statement = receipt(1)
    message = wire.CheckIn(protocol=2, receipts=(statement, receipt(2, name="pi-2")))
    drop, keep = client.feed(delivered(message), 0)
    assert isinstance(drop, Drop)
    assert "a receipt of the device pi-2" in drop.reason
    assert isinstance(keep, Keep)
    assert [one.statement for one in keep.receipts] == [statement]
    assert wire.decode_task(keep.task.fields) == wire.CheckIn(protocol=2)


def refused(shell: Shell, message: Delivered) -> bool:
    """Whether a release is declined for its signature."""
    before = set(shell.answers)
    shell.feed(message)
    reply = shell.answer(only(set(shell.answers) - before))
    return isinstance(reply, wire.Declined) and reply.reason == "bad-signature"


def test_a_later_statement_of_the_publisher_makes_a_new_key_count_and_the_old_one_no_more() -> None:
    shell = Shell()
    assert refused(shell, release(3, 2, key=STRANGER, number=1))

    said = delegation(STRANGER)
    shell.feed(check_in(2, said))

    assert shell.delegation == said
    assert refused(shell, release(3, 2, key=RELEASE, number=3))
    assert not refused(shell, release(3, 2, key=STRANGER, number=4))
    assert refused(shell, release(4, 3, key=RELEASE, number=5))


def test_a_release_brings_the_statement_that_makes_its_signature_count() -> None:
    shell = Shell()
    shell.feed(release(3, 2, number=1))
    said = delegation(STRANGER)

    assert not refused(shell, release(3, 3, key=STRANGER, number=2, delegation=said))

    assert shell.client.newest.sequence == 3
    assert shell.client.newest.key == STRANGER.public


def test_what_a_revoked_key_had_released_counts_no_more() -> None:
    shell = Shell()
    shell.feed(release(3, 2, number=1))
    assert shell.client.newest.version == name_of(weights(3))

    shell.feed(check_in(2, delegation(STRANGER)))

    assert shell.client.newest == device().current
    shell.feed(train(3, base=name_of(weights(3))))
    declined = shell.answer(task_name(3))
    assert isinstance(declined, wire.Declined)
    assert declined.reason == "unknown-base"


def test_an_older_statement_brings_no_revoked_key_back() -> None:
    shell = Shell()
    shell.feed(check_in(1, delegation(STRANGER, later=2)))

    for number, later in enumerate((0, 1, 2), start=2):
        shell.feed(check_in(number, delegation(RELEASE, later=later)))

    assert shell.delegation == delegation(STRANGER, later=2)
    assert refused(shell, release(3, 2, key=RELEASE, number=5))
    shell.restart()
    shell.feed(check_in(6, delegation(RELEASE)))
    assert refused(shell, release(3, 2, key=RELEASE, number=7))
    assert not refused(shell, release(3, 2, key=STRANGER, number=8))


def test_the_statement_that_holds_already_is_no_news() -> None:
    shell = Shell()
    shell.feed(check_in(1, delegation(RELEASE, later=0)))
    assert shell.delegation is None
    assert shell.dropped == []


@pytest.mark.parametrize(
    "said",
    [
        delegation(STRANGER, publisher=STRANGER),
        delegation(STRANGER).replace('"created":17', '"created":18'),
        statement(weights(3), 9, "release"),
        "{}",
        "",
    ],
)
def test_what_is_not_the_publishers_word_is_dropped_and_the_message_answered(said: str) -> None:
    shell = Shell()
    shell.feed(release(3, 2, key=RELEASE, number=1, delegation=said))

    assert shell.delegation is None
    assert "is not believed" in shell.dropped[0]
    assert shell.client.newest.version == name_of(weights(3))
    assert refused(shell, release(4, 3, key=STRANGER, number=2))


def test_a_receipt_of_the_new_key_is_believed_with_the_statement_that_brings_it() -> None:
    client = Client(device())
    mine = receipt(1, key=STRANGER)
    message = wire.CheckIn(protocol=2, receipts=(mine,), delegation=delegation(STRANGER))
    (keep,) = client.feed(delivered(message), 0)
    assert isinstance(keep, Keep)
    assert [one.statement for one in keep.receipts] == [mine]
    assert keep.delegation == delegation(STRANGER)
    assert wire.decode_task(keep.task.fields) == wire.CheckIn(protocol=2)


def test_the_coordinator_says_how_long_it_wants_to_be_left_alone() -> None:
    client = Client(device())
    assert client.poll_ms == 0
    list(client.feed(delivered(wire.CheckIn(protocol=2, poll_ms=5_000), number=1), 0))
    assert client.poll_ms == 5_000
    list(client.feed(delivered(wire.CheckIn(), number=2), 0))
    assert client.poll_ms == 5_000
    list(client.feed(delivered(wire.CheckIn(protocol=2, poll_ms=0), number=3), 0))
    assert client.poll_ms == 0


def test_a_training_task_waits_for_its_outcome_and_is_answered_with_it() -> None:
    shell = Shell()
    shell.feed(train())
    shell.feed(Ticked())
    assert not shell.answers
    shell.feed(found())
    reply, array = update()
    assert shell.answers == {task_name(1): [(wire.encode(reply), array.tobytes())]}
    assert shell.tasks[task_name(1)].state == "answered"


def test_an_outcome_of_another_task_is_left_alone() -> None:
    shell = Shell()
    shell.feed(train(1))
    shell.feed(found(2))
    assert not shell.answers


def test_the_first_outcome_is_the_answer_also_where_it_has_to_be_sent_again() -> None:
    shell = Shell()
    shell.feed(train())
    shell.feed(found(seed=5), online=False)
    shell.restart()
    shell.feed(found(seed=6))
    shell.feed(found(seed=5))
    reply, array = update(seed=5)
    assert shell.answers == {task_name(1): [(wire.encode(reply), array.tobytes())] * 2}


def test_an_outcome_that_may_not_leave_is_answered_with_failed() -> None:
    shell = Shell()
    shell.feed(train())
    reply, array = update()
    shell.feed(Found(Outcome("0" * 64, reply, np.append(array, np.float32(1)))))
    assert shell.answer(task_name(1)) == wire.Declined(
        device=NAME, task=task_name(1), reason="failed"
    )
    assert "The packed arrays are float32 [14]" in shell.dropped[0]


def test_a_task_for_another_model_or_base_is_declined_at_once() -> None:
    for message, reason in (
        (train(1, model="a" * 64), "wrong-model"),
        (train(1, base="b" * 64), "unknown-base"),
    ):
        shell = Shell()
        shell.feed(message)
        answer = shell.answer(task_name(1))
        assert isinstance(answer, wire.Declined)
        assert answer.reason == reason


def test_a_candidate_is_kept_for_the_agent_and_never_becomes_the_newest() -> None:
    shell = Shell()
    shell.feed(evaluate(1, seed=3))
    assert not shell.answers
    assert shell.versions[name_of(weights(3))].kind == "candidate"
    assert shell.client.newest == device().current
    assert shell.client.needed() == {name_of(weights(3)), device().current.version}


def test_a_release_becomes_the_newest_and_is_acknowledged() -> None:
    shell = Shell()
    shell.feed(release(3, sequence=2, merged=4))
    version = name_of(weights(3))
    assert shell.client.newest.version == version
    assert shell.versions[version].merged == 4
    assert shell.answer(only(shell.answers)) == wire.Received(
        device=NAME, version=version, accepted=True
    )


def test_training_may_start_at_a_received_release() -> None:
    shell = Shell()
    shell.feed(release(3, sequence=2))
    shell.feed(train(1, base=name_of(weights(3))))
    assert task_name(1) not in shell.answers


def test_a_rollback_brings_an_older_version_back_with_a_higher_sequence() -> None:
    shell = Shell()
    shell.feed(release(3, sequence=2, number=1))
    shell.feed(release(4, sequence=3, number=2))
    shell.feed(release(3, sequence=4, kind="rollback", number=3))
    assert shell.client.newest.version == name_of(weights(3))
    assert shell.client.newest.sequence == 4


def test_a_message_whose_parts_disagree_is_dropped() -> None:
    shell = Shell()
    good = train()
    shell.feed(Delivered(wire.Kind.EVALUATE, good.fields, None, b"x"))
    shell.feed(Delivered(wire.Kind.TRAIN, good.fields, np.zeros(3, np.float32), b"x"))
    shell.feed(Delivered(wire.Kind.TRAIN, b"{}", None, b"x"))
    assert len(shell.dropped) == 3
    assert not shell.tasks


def test_an_answer_that_nobody_wants_closes_the_task_as_refused() -> None:
    shell = Shell()
    shell.feed(train())
    shell.feed(found(), online=False)
    shell.feed(Answered(task_name(1), "unwanted"))
    assert shell.tasks[task_name(1)].state == "refused"
    assert shell.client.idle


def test_a_task_that_no_one_waits_for_any_more_is_given_up() -> None:
    shell = Shell()
    shell.feed(train(), now=0)
    shell.feed(Ticked(), now=ANSWERABLE_MS)
    assert not shell.client.idle
    shell.feed(Ticked(), now=ANSWERABLE_MS + 1)
    assert shell.client.idle
    assert not shell.answers


def test_a_repeated_question_gets_its_answer_where_it_was_asked_last() -> None:
    shell = Shell()
    shell.feed(train())
    message = train()
    again = Delivered(message.kind, message.fields, None, b"a later run")
    shell.feed(again)
    assert shell.tasks[task_name(1)].flower == b"a later run"


STATUS = wire.CheckedIn(
    device=NAME,
    model=device().trusted.model,
    version=device().current.version,
    sequence=1,
)
OTHER = delivered(wire.Train(task=task_name(9), model="a" * 64, base="b" * 64, round=1), number=9)

events = st.one_of(
    st.builds(train, st.integers(1, 3)),
    st.builds(evaluate, st.integers(4, 5), st.integers(1, 3)),
    st.builds(
        release,
        st.integers(1, 4),
        st.integers(1, 5),
        kind=st.sampled_from(["release", "rollback", "candidate"]),
        merged=st.integers(0, 3),
        number=st.integers(0, 3),
    ),
    st.builds(check_in, st.integers(0, 2)),
    st.builds(found, st.integers(1, 5), st.integers(5, 7)),
    st.just(Reported(STATUS)),
    st.just(Reported(None)),
    st.just(OTHER),
    st.just(Ticked()),
)
steps = st.lists(st.tuples(events, st.booleans(), st.booleans()), min_size=8, max_size=40)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_in_any_order_each_task_has_one_answer_and_the_newest_release_never_goes_back(
    story: list[tuple[Event, bool, bool]],
) -> None:
    shell = Shell()
    newest = shell.client.newest.sequence
    for event, online, killed in story:
        shell.feed(event, online=online)
        if killed:
            shell.restart()
        assert shell.client.newest.sequence >= newest
        newest = shell.client.newest.sequence
    for answers in shell.answers.values():
        assert len(set(answers)) == 1
    for name, task in shell.tasks.items():
        if task.state == "answered":
            assert name in shell.answers


@settings(max_examples=50, deadline=None)
@given(steps)
def test_a_killed_client_goes_on_as_if_nothing_had_happened(
    story: list[tuple[Event, bool, bool]],
) -> None:
    steady, killed = Shell(), Shell()
    for event, online, _ in story:
        steady.feed(event, online=online)
        killed.feed(event, online=online)
        killed.restart()
    assert (killed.tasks, killed.versions) == (steady.tasks, steady.versions)
    assert killed.answers == steady.answers
