"""A whole replay of many in one call is what each comes to step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headwater.errors import UnsupportedError
from headwater_models.graphs.builders import ModelSpec, build
from headwater_models.graphs.expression import Graph
from headwater_models.graphs.replaying import replay_many
from headwater_models.graphs.serialisation import decode, encode
from headwater_models.session import initial_state
from tests.models.graphs.example import model_spec, optimiser, random_weights, rows, spec_id
from tests.models.graphs.harness import runner

Arrays = dict[str, NDArray[Any]]

MEMBERS, STEPS, BATCH, ROWS = 3, 4, 5, 12
RATE = np.array(0.05, np.float32)
SPECS = [
    model_spec(),
    model_spec(optimiser=optimiser("adamw", weight_decay=0.1)),
    model_spec(task="classification", optimiser=optimiser("momentum")),
    model_spec(freeze=("head.*",)),
    model_spec(kind="gru"),
]


class Case:
    """Members with weights of their own, whose rows lie one after the other."""

    def __init__(self, spec: ModelSpec) -> None:
        rng = np.random.default_rng(1)
        self.built = build(spec, rng)
        self.alike = False
        self.names = list(self.built.weights)
        batch = rows(spec, rng, MEMBERS * ROWS).cast("float32")
        taken = decode(self.built.train).inputs.keys() & {"window", "time", "label"}
        self.rows = {name: getattr(batch, name) for name in taken}
        self.starts = [
            {n: a.astype(np.float32) for n, a in random_weights(self.built.weights, rng).items()}
            for _ in range(MEMBERS)
        ]
        self.state = initial_state(self.built.manifest)
        first = np.arange(MEMBERS)[:, None] * ROWS
        self.steps = first + rng.integers(0, ROWS, (STEPS, MEMBERS, BATCH))
        self.judged = first + np.arange(10).reshape(2, 1, BATCH)
        self.weight = rng.uniform(0.5, 2, self.steps.shape).astype(np.float32)
        self.weight[2:, 1] = 0

    def together(self, *, packed: list[str], **more: NDArray[Any]) -> Arrays:
        held = [name.removeprefix("hold.") for name in more if name != "pull"]
        feeds = {
            **self.rows,
            **(self.starts[0] if self.alike else self.stacks()),
            **{name: np.stack([array] * MEMBERS) for name, array in self.state.items()},
            "steps": self.steps,
            "judged": self.judged,
            "weight": self.weight,
            "learning_rate": RATE,
            **more,
        }
        shared = self.names if self.alike else ()
        graph = replay_many(self.built.train, packed=packed, held=held, alike=shared)
        return runner(graph)(feeds)

    def stacks(self) -> Arrays:
        return {name: np.stack([start[name] for start in self.starts]) for name in self.names}

    def alone(self, member: int, hold: Arrays | None = None, share: float = 0.0) -> list[Any]:
        """Return weights, and the losses before and after, of a member by itself."""
        run = runner(self.built.train)
        weights, state = dict(self.starts[member]), dict(self.state)

        def called(places: NDArray[Any], weight: NDArray[Any]) -> Arrays:
            feeds = {name: array[places] for name, array in self.rows.items()}
            feeds |= {"weight": weight, "learning_rate": RATE}
            return run({**feeds, **weights, **state})

        def losses() -> NDArray[Any]:
            nothing = np.zeros(BATCH, np.float32)
            return np.stack([called(places[member], nothing)["loss"] for places in self.judged])

        before = losses()
        for places, weight in zip(self.steps[:, member], self.weight[:, member], strict=True):
            if not weight.any():
                break
            new = called(places, weight)
            weights = {name: new[f"new.{name}"] for name in weights}
            state = {name: new[f"new.{name}"] for name in state}
            for name, base in (hold or {}).items():
                weights[name] = weights[name] + np.float32(share) * (base - weights[name])
        return [weights, before, losses()]


@pytest.mark.parametrize("spec", SPECS, ids=spec_id)
def test_each_member_comes_to_what_it_does_alone(spec: ModelSpec) -> None:
    case = Case(spec)

    made = case.together(packed=case.names)

    for member in range(MEMBERS):
        weights, before, after = case.alone(member)
        for name, array in weights.items():
            np.testing.assert_allclose(made[f"new.{name}"][member], array, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(made["before"][:, member], before, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(made["after"][:, member], after, rtol=1e-3, atol=1e-4)
        moved = [made[f"new.{n}"][member] - case.starts[member][n] for n in case.names]
        packed = np.concatenate([array.ravel() for array in moved])
        np.testing.assert_array_equal(made["change"][member], packed)


@pytest.mark.parametrize("spec", SPECS, ids=spec_id)
def test_members_that_begin_alike_need_not_begin_each_for_itself(spec: ModelSpec) -> None:
    case = Case(spec)
    case.starts = case.starts[:1] * MEMBERS

    apart = case.together(packed=case.names)
    case.alike = True
    common = case.together(packed=case.names)

    assert common.keys() == apart.keys()
    for name, array in apart.items():
        assert common[name].shape == array.shape
        np.testing.assert_allclose(common[name], array, rtol=1e-5, atol=1e-6)


def test_a_member_without_weight_in_a_step_keeps_what_it_has_bit_for_bit() -> None:
    case = Case(model_spec(optimiser=optimiser("adam")))
    long = case.together(packed=[])

    case.steps, case.weight = case.steps[:2], case.weight[:2]
    short = case.together(packed=[])

    for name in long.keys() - {"before", "after"}:
        assert long[name][1].tobytes() == short[name][1].tobytes()
        assert name not in case.names or long[name][0].tobytes() != short[name][0].tobytes()


def test_held_parameters_are_pulled_after_each_step_that_a_member_takes() -> None:
    case, share = Case(model_spec()), 0.25
    held = case.names[:2]
    bases = [{name: start[name] + 1 for name in held} for start in case.starts]
    pull = np.where(case.weight.any(axis=2), np.float32(share), np.float32(0))

    stacks = {f"hold.{name}": np.stack([base[name] for base in bases]) for name in held}
    made = case.together(packed=held[1:], pull=pull, **stacks)

    for member in range(MEMBERS):
        weights, _, _ = case.alone(member, bases[member], share)
        for name, array in weights.items():
            np.testing.assert_allclose(made[f"new.{name}"][member], array, rtol=1e-4, atol=1e-5)
    size = case.built.weights[held[1]].size
    assert made["change"].shape == (MEMBERS, size)


def test_without_a_step_all_stays_as_it_was() -> None:
    case = Case(model_spec())
    case.steps, case.weight = case.steps[:0], case.weight[:0]

    made = case.together(packed=case.names)

    np.testing.assert_array_equal(made["before"], made["after"])
    assert not made["change"].any()


def test_an_operator_that_cannot_be_stacked_is_named() -> None:
    graph = Graph()
    window = graph.input("window", ("N", 1, 2))
    graph.input("label", ("N", 1))
    graph.input("weight", ("N",))
    w = graph.input("w", (2,))
    graph.output(graph.op("Identity", graph.op("Det", window @ w.unsqueeze([0, 2])), name="loss"))

    with pytest.raises(UnsupportedError, match="Det"):
        replay_many(encode(graph, defaults=False))
