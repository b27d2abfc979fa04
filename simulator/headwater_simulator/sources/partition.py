"""How labelled rows are dealt out to devices: evenly, by class, by amount, or as they came.

References
----------
Hsu, Qi and Brown, Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification, 2019 (``dirichlet``); McMahan et al., Communication-Efficient Learning of Deep
Networks from Decentralized Data, AISTATS 2017 (``label``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.errors import SettingsError
from headwater_simulator.scenario.settings import Table
from headwater_simulator.sources.holding import LEAST

Places = NDArray[np.intp]

_FLOOR = 1e-12
"""A share that a class has at least, as long as there are rows of it."""

_REMEDY = {
    "iid": "lower groups.devices",
    "dirichlet": "lower groups.devices",
    "label": "lower groups.devices or raise data.labels",
    "size": "lower groups.devices",
    "client": "leave the client out of the files",
}


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """What is dealt out: of which class ``[N]`` each row is, and of which client ``[N]``.

    ``classes`` is how many there are, 0 where labels are no classes.
    """

    labels: Places
    clients: Places
    classes: int


def deal(rows: Labelled, devices: int, settings: Table, rng: np.random.Generator) -> list[Places]:
    """Deal rows out.

    ``iid`` and ``size`` and ``label`` deal all rows that they can; with ``dirichlet`` devices have
    the same number, so that less than one row for each is left; ``client`` takes the first
    clients of the files, one for each device.

    Parameters
    ----------
    rows
        What there is.
    devices
        How many there are.
    settings
        How it is done.
    rng
        Says who gets what.

    Returns
    -------
    list
        For each device the rows that it has, ascending; none is in two of them.

    Raises
    ------
    SettingsError
        When it cannot be done so, or a device would have too few rows to learn and to judge.
    """
    if settings.partition in ("dirichlet", "label") and not rows.classes:
        raise SettingsError(
            f'data.partition: "{settings.partition}" deals by class, and the labels of '
            f"{settings.label} are numbers; choose iid, size or client."
        )
    match settings.partition:
        case "iid":
            dealt = np.array_split(rng.permutation(len(rows.labels)), devices)
        case "size":
            dealt = _by_size(len(rows.labels), devices, settings.sigma, rng)
        case "dirichlet":
            dealt = _dirichlet(rows, devices, settings.alpha, rng)
        case "label":
            dealt = _by_label(rows, devices, settings.labels, rng)
        case "client":
            dealt = _by_client(rows, devices)
    least = min(range(devices), key=lambda device: len(dealt[device]))
    if len(dealt[least]) < LEAST:
        raise SettingsError(
            f"data: of {len(rows.labels):,} rows device {least} would have {len(dealt[least])}, "
            f"and needs {LEAST} to learn and to judge; {_REMEDY[settings.partition]}, or give "
            "more rows."
        )
    return [np.sort(places) for places in dealt]


def _by_size(rows: int, devices: int, sigma: float, rng: np.random.Generator) -> list[Places]:
    """Give each the least that it needs, and beyond it a log-normal share of what is left."""
    free = max(0, rows - LEAST * devices)
    wants = np.exp(sigma * rng.standard_normal(devices))
    ends = np.cumsum(wants) / wants.sum()
    extra = np.diff(np.round(ends * free), prepend=0.0).astype(np.intp)
    sizes = extra + min(LEAST, rows // devices)
    return np.split(rng.permutation(rows), np.cumsum(sizes))[:devices]


def _dirichlet(
    rows: Labelled, devices: int, alpha: float, rng: np.random.Generator
) -> list[Places]:
    """Draw the classes of each device's rows with shares of its own, as long as there are any."""
    piles = _piles(rows, rng)
    left = np.array([len(pile) for pile in piles])
    prior = left / max(1, left.sum())
    there = np.flatnonzero(prior)
    size = len(rows.labels) // devices
    dealt: list[Places] = [np.zeros(0, np.intp)] * devices
    for device in rng.permutation(devices):
        shares = np.zeros(len(piles))
        shares[there] = np.maximum(rng.dirichlet(alpha * prior[there]), _FLOOR)
        counts = _drawn(size, shares, left, rng)
        taken = [piles[c][left[c] - n : left[c]] for c, n in enumerate(counts)]
        dealt[device] = np.concatenate(taken)
        left -= counts
    return dealt


def _drawn(
    size: int, shares: NDArray[np.float64], left: Places, rng: np.random.Generator
) -> Places:
    """Draw how many rows of each class a device has; what has run out is drawn from the rest."""
    counts = np.zeros(len(shares), np.intp)
    while missing := size - int(counts.sum()):
        open_shares = np.where(counts < left, shares, 0.0)
        drawn = rng.multinomial(missing, open_shares / open_shares.sum())
        counts = np.minimum(counts + drawn, left)
    return counts


def _by_label(rows: Labelled, devices: int, labels: int, rng: np.random.Generator) -> list[Places]:
    """Give each device so many classes, in turn, and of each an even part."""
    piles = [pile for pile in _piles(rows, rng) if len(pile)]
    if labels > len(piles):
        raise SettingsError(
            f"data.labels: a device cannot have {labels} of {len(piles)} classes; lower it."
        )
    if labels * devices < len(piles):
        raise SettingsError(
            f"data.labels: {devices} devices with {labels} classes each leave some of "
            f"{len(piles)} classes to nobody; raise it, or groups.devices."
        )
    order = rng.permutation(len(piles))
    seats = order[np.arange(devices * labels) % len(piles)]
    owners = np.repeat(np.arange(devices), labels)
    dealt: list[list[Places]] = [[] for _ in range(devices)]
    for number, pile in enumerate(piles):
        theirs = owners[seats == number]
        for device, part in zip(theirs, np.array_split(pile, len(theirs)), strict=True):
            dealt[device].append(part)
    return [np.concatenate(parts) for parts in dealt]


def _by_client(rows: Labelled, devices: int) -> list[Places]:
    clients = int(rows.clients.max(initial=-1)) + 1
    if clients < devices:
        raise SettingsError(
            f"data.client: the files have {clients} clients for {devices} devices; lower "
            "groups.devices, or choose another partition."
        )
    return [np.flatnonzero(rows.clients == client) for client in range(devices)]


def _piles(rows: Labelled, rng: np.random.Generator) -> list[Places]:
    """Return the rows of each class, shuffled."""
    shuffled = rng.permutation(len(rows.labels))
    return [shuffled[rows.labels[shuffled] == number] for number in range(rows.classes)]
