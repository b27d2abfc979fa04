"""How a device takes up a task to train: with which examples, to how many steps, how long."""

from __future__ import annotations

import msgspec

from headwater import wire
from headwater_agent.answers import DeclinedError
from headwater_agent.replay import Step
from headwater_models.manifest import Manifest
from headwater_simulator.device import Begun, Made
from headwater_simulator.virtual.attacking import mislabelled
from headwater_simulator.virtual.member import Delivery, Member, Training
from headwater_simulator.virtual.training import Job


def take_up(
    delivery: Delivery, task: wire.Train, now: int, manifest: Manifest, trainer: Step
) -> Training | Made | DeclinedError:
    """Let a device take up a task, with what it has learned by a moment.

    Returns
    -------
    Training
        What is to be computed.
    tuple
        The update and its vector, where there is nothing to be computed.
    DeclinedError
        Why the device cannot.
    """
    member = delivery.member
    try:
        begun = member.device.begin_update(task, trainer)
        if not isinstance(begun, Begun):
            return begun
        attack = member.attack
        if attack is not None and attack.kind == "label-flip" and now >= attack.start:
            begun = _misled(begun, manifest)
        return _training(delivery, begun, now)
    except DeclinedError as declined:
        return declined


def _misled(begun: Begun, manifest: Manifest) -> Begun:
    """Turn the labels that a device learns from."""
    training = begun.training
    examples = mislabelled(manifest, training.examples)
    turned = msgspec.structs.replace(training, examples=examples, usable=None)
    return msgspec.structs.replace(begun, training=turned)


def _training(delivery: Delivery, begun: Begun, now: int) -> Training:
    """Return to how many steps a training comes, and when it ends."""
    member, task = delivery.member, begun.task
    steps = _steps(member, task)
    rows = len(begun.training.examples.weight) * task.epochs
    seconds = member.seconds(rows if steps is None else min(rows, steps * task.batch))
    if member.charge is not None and not member.charge.spend(seconds, now):
        raise DeclinedError("paused")
    end = max(now, member.busy_until) + round(1000 * seconds)
    late = end > delivery.void_ms and task.compression is msgspec.UNSET
    return Training(begun, Job(begun.training, steps), end, late)


def _steps(member: Member, task: wire.Train) -> int | None:
    """Return how many steps a device comes to within the task's budget; None: it has no budget."""
    if task.budget_ms is msgspec.UNSET:
        return None
    seconds = max(task.budget_ms - member.group.delay, 0) / 1000
    return max(1, int(seconds * member.speed / task.batch))
