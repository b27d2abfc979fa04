"""Which model is published, with a guarantee: the account, the promotion and the reset.

The account holds how much loss serving the personal model has cost above the release. It serves
only while the account is below a bound, so on every stream whatever the excess loss is at most
``bound + clip * (labels outstanding)``. See docs/design.md, §4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from headwater_agent.evidence import Evidence
from headwater_agent.pipeline_settings import ServeSettings
from headwater_models.manifest import Manifest

Change = Literal["promoted", "demoted", "reset"]


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Labelled predictions in the order of their labels.

    Each is ``[N]``: ``blocks`` are the numbers of the blocks of time in which they were made (see
    :meth:`.Evidence.add`); ``released`` and ``personal`` the losses of both, at least 0;
    ``served_personal`` says for which of them the personal one was published.
    """

    blocks: NDArray[np.int64]
    released: NDArray[np.float64]
    personal: NDArray[np.float64]
    served_personal: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, part: slice) -> Losses:
        """Return some of them."""
        return Losses(
            self.blocks[part],
            self.released[part],
            self.personal[part],
            self.served_personal[part],
        )


class Account(msgspec.Struct):
    """The excess loss of what was served, kept from below at 0: gains are not saved up.

    The true excess is never above ``excess``. After each demotion the limit moves half of the way
    that is left to the bound, so that the bound holds over all terms together; an account back at
    0 starts over with the first limit.

    Attributes
    ----------
    bound
        What ``excess`` stays below while the personal model serves.
    """

    bound: float
    excess: float = 0.0
    demotions: int = 0

    @property
    def limit(self) -> float:
        """The account at which the personal model stops serving."""
        return self.bound * (1 - 0.5 ** (self.demotions + 1))

    @property
    def allows(self) -> bool:
        """Whether the personal model may serve the next prediction."""
        return self.excess < self.limit

    def add(self, *differences: float) -> bool:
        """Count what served predictions cost above the release, in the order of their labels.

        Returns
        -------
        bool
            Whether the personal model might have served on after each of them.
        """
        excess, limit, allowed = self.excess, self.limit, True
        for difference in differences:
            excess += difference
            if excess <= 0.0:
                excess, self.demotions = 0.0, 0
                limit = self.limit
            if excess >= limit:
                allowed = False
        self.excess = excess
        return allowed


class Served(msgspec.Struct):
    """Decide between released and personal, from scored predictions alone.

    Attributes
    ----------
    serving
        The model that the next prediction is published from.
    evidence
        The personal model is the first forecaster, the release the second.
    windows, flagged
        Of an anomaly model without labels: windows seen, and those that either model flagged.
    """

    clip: float
    alpha: float
    account: Account
    enabled: bool = True
    serving: Literal["released", "personal"] = "released"
    evidence: Evidence = msgspec.field(default_factory=Evidence)
    windows: int = 0
    flagged: int = 0

    def scored(self, losses: Losses, first: int = 0) -> Iterator[tuple[int, Change]]:
        """Take labelled predictions; yield what follows, each with the place it follows from.

        A loss above ``clip``, or one that is not finite, counts as ``clip``. It makes no difference
        how the predictions are cut into calls: what nothing follows from is counted in one go, the
        rest in halves.

        Parameters
        ----------
        losses
            In the order in which the labels came.
        first
            The place of the first of them.
        """
        account, evidence = replace(self.account), self.evidence.copy()
        theirs, ours = self._clipped(losses.released), self._clipped(losses.personal)
        evidence.add(losses.blocks, (theirs - ours) / self.clip)
        quiet = not self._is_proof(evidence)
        costs: list[float] = (ours - theirs)[losses.served_personal].tolist()
        quiet &= account.add(*costs) or self.serving == "released"
        if len(losses) > 1 and not quiet:
            half = len(losses) // 2
            yield from self.scored(losses[:half], first)
            yield from self.scored(losses[half:], first + half)
            return
        self.account, self.evidence = account, evidence
        change = self._decide()
        if change is not None:
            yield first, change

    def corrected(
        self,
        *,
        before: tuple[float, float],
        after: tuple[float, float],
        served: Literal["released", "personal"],
    ) -> Change | None:
        """Book what a corrected label changes; losses are (released, personal)."""
        if served == "personal":
            released, personal = self._clipped(np.array([before, after]).T)
            old, new = (personal - released).tolist()
            self.account.add(new - old)
        return self._decide()

    def renew(self) -> None:
        """Serve the release, and let a personal model that was reset prove itself from nothing."""
        self.serving = "released"
        self.evidence = Evidence()

    def resume(self, saved: Served) -> None:
        """Go on from what was stored, under the bounds that are set today.

        Evidence in another unit is no evidence: with another clip it begins anew.
        """
        self.account.excess = saved.account.excess
        self.account.demotions = saved.account.demotions
        if saved.clip == self.clip:
            self.evidence = saved.evidence
        self.windows, self.flagged = saved.windows, saved.flagged
        allowed = saved.serving == "personal" and self.enabled and self.account.allows
        self.serving = "personal" if allowed else "released"

    def _is_proof(self, evidence: Evidence) -> bool:
        """Say whether something may follow from evidence."""
        proof = 1 / self.alpha
        promotes = self.enabled and self.serving == "released" and evidence.for_first() >= proof
        return promotes or evidence.for_second() >= proof

    def _decide(self) -> Change | None:
        proof = 1 / self.alpha
        if self.evidence.for_second() >= proof:
            self.renew()
            return "reset"
        if self.serving == "personal":
            if self.account.allows:
                return None
            self.account.demotions += 1
            self.renew()
            return "demoted"
        if self.enabled and self.account.allows and self.evidence.for_first() >= proof:
            self.serving = "personal"
            return "promoted"
        return None

    def _clipped(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(np.isfinite(losses), np.minimum(losses, self.clip), self.clip)


def clip_for(settings: ServeSettings, manifest: Manifest) -> float:
    """Return the largest loss that counts: as set, or what follows from the model; 0: unknown.

    The error of a class or an anomaly is at most 1; that of a forecast counts up to a twentieth
    of what its channel can report. What a regression's label can be is not known.
    """
    if settings.clip:
        return settings.clip
    if manifest.task == "forecast":
        channel = manifest.channels[manifest.target_index]
        return (channel.maximum - channel.minimum) / 20
    return 0.0 if manifest.task == "regression" else 1.0


def served(settings: ServeSettings, clip: float) -> Served:
    """Start with the release in service and an empty account; a clip of 0 lets nothing else in."""
    account = Account(bound=settings.excess * (clip or 1.0))
    enabled = settings.personal and clip > 0
    return Served(clip=clip or 1.0, alpha=settings.alpha, account=account, enabled=enabled)
