"""The table of strategies: which there are, what Flower's arguments are here, which are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from headwater.errors import SettingsError, UnsupportedError
from headwater.settings import convert
from headwater_coordinator.strategies.asynchronous import FedAsync, FedBuff
from headwater_coordinator.strategies.averaging import FedAvg, FedProx, QFedAvg
from headwater_coordinator.strategies.optimisers import FedAdagrad, FedAdam, FedAvgM, FedYogi
from headwater_coordinator.strategies.robust import (
    Bulyan,
    FedMedian,
    FedTrimmedAvg,
    Krum,
    MultiKrum,
)
from headwater_coordinator.strategies.screened import Screened
from headwater_coordinator.strategies.strategy import Strategy
from headwater_models.manifest import Manifest

Table = Mapping[str, object]
"""``[strategy]`` as it stands in the file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy.

    ``origin`` is who wrote down the rule by this name. ``state`` says that a server's state is
    kept with each candidate. Without a ``kind`` it cannot be chosen, for ``reason``.
    """

    name: str
    origin: Literal["Flower", "Headwater"]
    kind: type[Strategy] | None = None
    state: bool = False
    reason: str = ""


_TREES = "its updates are trees of XGBoost; a Headwater model is an ONNX graph with named arrays"
_NOISE = (
    "its noise comes from numpy's generator, which can be foretold, and is measured for a fixed "
    "number of devices of equal weight, where a round here merges as many as answer; a guarantee "
    "that does not hold is worse than none"
)
_EXACT = "it is how statistics merge, whatever the strategy, in a model that is solved from them"

TABLE = (
    Row("FedAvg", "Flower", FedAvg),
    Row("FedProx", "Flower", FedProx),
    Row("FedAvgM", "Flower", FedAvgM, state=True),
    Row("FedAdagrad", "Flower", FedAdagrad, state=True),
    Row("FedAdam", "Flower", FedAdam, state=True),
    Row("FedYogi", "Flower", FedYogi, state=True),
    Row("QFedAvg", "Flower", QFedAvg),
    Row("FedMedian", "Flower", FedMedian),
    Row("FedTrimmedAvg", "Flower", FedTrimmedAvg),
    Row("Krum", "Flower", Krum),
    Row("MultiKrum", "Flower", MultiKrum),
    Row("Bulyan", "Flower", Bulyan),
    Row("FedXgbBagging", "Flower", reason=_TREES),
    Row("FedXgbCyclic", "Flower", reason=_TREES),
    Row("DifferentialPrivacyServerSideFixedClipping", "Flower", reason=_NOISE),
    Row("DifferentialPrivacyServerSideAdaptiveClipping", "Flower", reason=_NOISE),
    Row("DifferentialPrivacyClientSideFixedClipping", "Flower", reason=_NOISE),
    Row("DifferentialPrivacyClientSideAdaptiveClipping", "Flower", reason=_NOISE),
    Row("FedBuff", "Headwater", FedBuff),
    Row("FedAsync", "Headwater", FedAsync),
    Row("Screened", "Headwater", Screened, state=True),
    Row("sum", "Headwater", reason=_EXACT),
    Row("moments", "Headwater", reason=_EXACT),
)

ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "fraction_train": "federation.fraction",
        "fraction_evaluate": "gate.fraction",
        "min_train_nodes": "federation.min_devices",
        "min_evaluate_nodes": "gate.min_evaluators",
        "min_available_nodes": "federation.min_devices",
        "eta_l": "federation.learning_rate",
        "weighted_by_key": "always the examples, up to federation.weight_cap",
        "train_loss_key": "always the loss before training",
        "arrayrecord_key": "part of the protocol",
        "configrecord_key": "part of the protocol",
        "train_metrics_aggr_fn": "code, which settings cannot hold",
        "evaluate_metrics_aggr_fn": "the gate's pooled losses",
        "selection_rule": "always Multi-Krum",
    }
)
"""What Flower's other arguments are called here."""

_ROWS = {row.name.lower(): row for row in TABLE}


def choose(table: Table, *, source: str) -> Strategy:
    """Make the strategy that a ``[strategy]`` table asks for.

    Parameters
    ----------
    table
        ``name``, in any case, and arguments.
    source
        The file, for complaints.

    Raises
    ------
    SettingsError
        With a line for each wrong key, and what is allowed in its place.
    """
    kind = _kind(table.get("name"), source)
    given = {key: value for key, value in table.items() if key != "name"}
    unknown = [
        f"{source}: strategy.{key}: {_unknown(key, kind)}"
        for key in given
        if key not in kind.__struct_fields__
    ]
    if unknown:
        raise SettingsError("\n".join(unknown))
    try:
        return convert(given, kind, source=f"{source}: [strategy]")
    except SettingsError as error:
        takes = f"{source}: [strategy]: {kind.__name__} takes {_arguments(kind)}"
        raise SettingsError(f"{error}\n{takes}") from error


def refuse_unfit(strategy: Strategy, manifest: Manifest) -> None:
    """Refuse a strategy that has nothing to do with how a model learns.

    Raises
    ------
    UnsupportedError
        When the model is solved from statistics, which merge exactly and in one way only.
    """
    if manifest.statistics and type(strategy) is not FedAvg:
        rules = sorted({array.merge for array in manifest.statistics})
        raise UnsupportedError(
            f"Model {manifest.name} is solved from statistics, which merge exactly "
            f"({', '.join(rules)}); strategy {type(strategy).__name__} is for models that learn by "
            "gradients. Remove the section [strategy]."
        )


def _kind(name: object, source: str) -> type[Strategy]:
    row = _ROWS.get(name.lower()) if isinstance(name, str) else None
    if row is not None and row.kind is not None:
        return row.kind
    known = ", ".join(row.name.lower() for row in TABLE if row.kind is not None)
    why = f"{row.name} cannot be chosen: {row.reason}" if row else f"there is no strategy {name!r}"
    raise SettingsError(f"{source}: strategy.name: {why}; it may be {known}")


def _unknown(key: str, kind: type[Strategy]) -> str:
    takes = f"{kind.__name__} takes {_arguments(kind)}"
    if key in ELSEWHERE:
        return f"in Headwater this is {ELSEWHERE[key]}; {takes}"
    return f"there is no such argument; {takes}"


def _arguments(kind: type[Strategy]) -> str:
    return ", ".join(kind.__struct_fields__) or "no arguments"
