"""What to make of someone's own model."""

from __future__ import annotations

from typing import Literal

from headwater_models.graphs.builders.specification import ModelFacts

Layout = Literal["ntc", "nct", "flat"]


class ImportSpec(ModelFacts, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The facts that a file does not say, and how its input and output fit the window and label.

    Parameters
    ----------
    layout
        Of the input: rows, time, channels; rows, channels, time (convolutions of PyTorch); or all
        cells of the window in one row, oldest first. None: as its sizes say.
    output
        Which output predicts; empty: the only one that can.
    train
        Patterns of the initialisers that become arrays of the bundle; none: all weights.
    local
        Patterns of the arrays that never leave the device.
    fill
        What the model sees where a cell is missing: ``mean`` (of the channel, as it is scaled),
        ``zero``, a number, ``CHANNEL=NUMBER`` for one of them, or ``model``: the model copes
        with NaN itself.
    scaled
        ``input``: the model takes standardised values. ``output``: it gives them.
    logits
        The output of a classification is the argument of a softmax, or of a sigmoid.
    residual
        The output of a forecast is the change from the target's last value.
    """

    layout: Layout | None = None
    output: str = ""
    train: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    fill: tuple[str, ...] = ()
    scaled: tuple[Literal["input", "output"], ...] = ()
    logits: bool = False
    residual: bool = False
