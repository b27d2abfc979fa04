"""Server optimisers: the mean of the updates is a gradient, and Flower's own class takes the step.

Reddi et al., Adaptive Federated Optimization, ICLR 2021; momentum: Hsu et al., Measuring the
Effects of Non-Identical Data Distribution for Federated Visual Classification, 2019.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
import numpy as np

from headwater_coordinator.strategies.flower import Optimiser, server_step
from headwater_coordinator.strategies.strategy import Merged, State, Strategy, finite, moved
from headwater_coordinator.strategies.updates import Floats, Updates

Rate = Annotated[float, msgspec.Meta(gt=0, le=100)]
Decay = Annotated[float, msgspec.Meta(ge=0, lt=1)]

_STEPS = "steps"


class _Optimised(Strategy, frozen=True):
    """A mean, weighted by examples, and a step of one of Flower's optimisers."""

    optimiser: ClassVar[Optimiser]

    def merge(self, shared: Floats, updates: Updates, state: State) -> Merged:
        """Take one step; what the optimiser keeps, and the number of the step, is the state."""
        mean = moved(shared, updates.mean(updates.examples))
        number = int(state.get(_STEPS, np.zeros(()))) + 1
        remembered = {
            name: np.asarray(a, np.float32) for name, a in state.items() if name != _STEPS
        }
        stepped, kept = server_step(
            self.optimiser,
            msgspec.structs.asdict(self),
            shared=shared,
            mean=mean,
            remembered=remembered,
            number=number,
        )
        return Merged(finite(stepped), {**kept, _STEPS: np.array(float(number))})


class FedAvgM(_Optimised, frozen=True):
    """Gradient descent with momentum."""

    optimiser: ClassVar[Optimiser] = "FedAvgM"
    server_learning_rate: Rate = 1.0
    server_momentum: Decay = 0.0


class FedAdagrad(_Optimised, frozen=True):
    """Adagrad."""

    optimiser: ClassVar[Optimiser] = "FedAdagrad"
    eta: Rate = 0.1
    tau: Rate = 1e-3


class FedAdam(_Optimised, frozen=True):
    """Adam."""

    optimiser: ClassVar[Optimiser] = "FedAdam"
    eta: Rate = 0.1
    beta_1: Decay = 0.9
    beta_2: Decay = 0.99
    tau: Rate = 1e-3


class FedYogi(_Optimised, frozen=True):
    """Yogi: like Adam, its second moment moves by steps of bounded size."""

    optimiser: ClassVar[Optimiser] = "FedYogi"
    eta: Rate = 0.01
    beta_1: Decay = 0.9
    beta_2: Decay = 0.99
    tau: Rate = 1e-3
