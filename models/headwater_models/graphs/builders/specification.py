"""What to build."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headwater.settings import Duration
from headwater_models.graphs.scaling import Scaling
from headwater_models.graphs.training import state_arrays
from headwater_models.manifest import (
    Array,
    Channel,
    Grid,
    Learner,
    Level,
    Loss,
    Manifest,
    Name,
    Optimiser,
    Reserve,
    Rows,
    Task,
)

Kind = Literal["linear", "mlp", "resnet", "cnn", "gru", "autoencoder"]
Activation = Literal["relu", "tanh", "silu"]
Width = Annotated[int, msgspec.Meta(ge=1, le=4096)]


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model is for and how it learns, whoever made its network.

    Parameters
    ----------
    quantiles
        With loss ``quantile``: the shares of labels that are to lie below each output.
    freeze
        Patterns such as ``hidden.*`` of the arrays that are never trained.
    scaling
        By default that of the channels' ranges.
    """

    name: Name
    task: Task
    channels: tuple[Channel, ...]
    grid: Grid
    window: Rows
    reserve: Reserve
    loss: Loss
    target: str = ""
    horizon: Duration = Duration(0)
    classes: tuple[str, ...] = ()
    quantiles: tuple[Level, ...] = ()
    inputs: tuple[Literal["window", "time"], ...] = ("window",)
    optimiser: Optimiser = Optimiser()
    freeze: tuple[str, ...] = ()
    scaling: Scaling | None = None

    def manifest(self, arrays: tuple[Array, ...]) -> Manifest:
        """Return the manifest of a model that has these arrays."""
        return Manifest(
            name=self.name,
            task=self.task,
            channels=self.channels,
            grid=self.grid,
            window=self.window,
            target=self.target,
            horizon=self.horizon,
            classes=self.classes,
            quantiles=self.quantiles,
            loss=self.loss,
            baseline="majority" if self.task == "classification" else "persistence",
            optimiser=self.optimiser,
            reserve=self.reserve,
            inputs=self.inputs,
            arrays=arrays,
            state=state_arrays(self.optimiser, arrays),
        )


class ModelSpec(ModelFacts, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to build: the facts of the manifest, and the network.

    Parameters
    ----------
    kind
        ``linear``: one layer over the whole window. ``mlp``: hidden layers before it. ``resnet``:
        residual blocks. ``cnn``: convolutions along the window. ``gru``: a recurrent network.
        ``autoencoder``: for anomalies; its hidden layers end in the bottleneck.
    hidden
        Widths of the hidden layers; ``linear`` ignores them.
    activation
        Between layers; ``gru`` has its own.
    normalise
        ``layer`` after each hidden layer (Ba et al. 2016); ``resnet`` does it anyway.
    kernel
        Time steps that one convolution of a ``cnn`` sees.
    embedding
        Numbers that stand for one category of a channel with categories.
    personal
        ``head``: the last layer stays on the device. ``blend``: a second last layer stays there
        and adds to the released one.
    learner
        ``gradient`` trains all of the network. ``ridge`` and ``naive_bayes`` solve the last layer
        from statistics that merge exactly; the rest stays as it is drawn, or trained elsewhere.
    ridge
        What weighs against statistics: see :func:`.solved.on_backbone`.
    min_count
        From how many examples on a device contributes statistics; None: from twice the features.
    """

    kind: Kind
    hidden: tuple[Width, ...] = (64,)
    activation: Activation = "relu"
    normalise: Literal["none", "layer"] = "none"
    kernel: Annotated[int, msgspec.Meta(ge=2, le=64)] = 3
    embedding: Width = 4
    personal: Literal["none", "head", "blend"] = "none"
    learner: Learner = "gradient"
    ridge: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = 1.0
    min_count: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | None = None
