"""Which model is published, with a guarantee: the account, the promotion and the reset.

The account holds how much loss serving the personal model has cost above the release. It serves
only while the account is below a bound, so on every stream whatever the excess loss is at most
``bound + clip * (labels outstanding)``. See docs/design.md, §4.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from headwater_agent.evidence import Evidence
from headwater_agent.pipeline_settings import ServeSettings
from headwater_models.manifest import Manifest

Change = Literal["promoted", "demoted", "reset"]


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

    def add(self, difference: float) -> None:
        """Count what one served prediction cost above the release."""
        self.excess = max(0.0, self.excess + difference)
        if self.excess == 0.0:
            self.demotions = 0


class Served(msgspec.Struct):
    """Decide between released and personal, from scored predictions alone.

    Attributes
    ----------
    serving
        The model that the next prediction is published from.
    windows, flagged
        Of an anomaly model without labels: windows seen, and those that either model flagged.
    """

    clip: float
    alpha: float
    account: Account
    enabled: bool = True
    serving: Literal["released", "personal"] = "released"
    better: Evidence = msgspec.field(default_factory=Evidence)
    worse: Evidence = msgspec.field(default_factory=Evidence)
    windows: int = 0
    flagged: int = 0

    def scored(
        self,
        *,
        block: int,
        released: float,
        personal: float,
        served: Literal["released", "personal"],
    ) -> Change | None:
        """Take the losses of one labelled prediction; return what follows from them.

        Parameters
        ----------
        block
            Number of the block of time in which the prediction was made; see
            :meth:`.Evidence.add`.
        released, personal
            Losses of both, at least 0; what is above ``clip``, or not finite, counts as ``clip``.
        served
            The model whose prediction was published.
        """
        theirs, ours = self._clipped(released), self._clipped(personal)
        if served == "personal":
            self.account.add(ours - theirs)
        gain = (theirs - ours) / self.clip
        self.better.add(block, gain)
        self.worse.add(block, -gain)
        return self._decide()

    def corrected(
        self,
        *,
        before: tuple[float, float],
        after: tuple[float, float],
        served: Literal["released", "personal"],
    ) -> Change | None:
        """Book what a corrected label changes; losses are (released, personal)."""
        if served == "personal":
            old, new = (self._clipped(pair[1]) - self._clipped(pair[0]) for pair in (before, after))
            self.account.add(new - old)
        return self._decide()

    def renew(self) -> None:
        """Serve the release, and let a personal model that was reset prove itself from nothing."""
        self.serving = "released"
        self.better, self.worse = Evidence(), Evidence()

    def resume(self, saved: Served) -> None:
        """Go on from what was stored, under the bounds that are set today.

        Evidence in another unit is no evidence: with another clip it begins anew.
        """
        self.account.excess = saved.account.excess
        self.account.demotions = saved.account.demotions
        if saved.clip == self.clip:
            self.better, self.worse = saved.better, saved.worse
        self.windows, self.flagged = saved.windows, saved.flagged
        allowed = saved.serving == "personal" and self.enabled and self.account.allows
        self.serving = "personal" if allowed else "released"

    def _decide(self) -> Change | None:
        proof = 1 / self.alpha
        if self.worse.value() >= proof:
            self.renew()
            return "reset"
        if self.serving == "personal":
            if self.account.allows:
                return None
            self.account.demotions += 1
            self.renew()
            return "demoted"
        if self.enabled and self.account.allows and self.better.value() >= proof:
            self.serving = "personal"
            return "promoted"
        return None

    def _clipped(self, loss: float) -> float:
        return min(loss, self.clip) if math.isfinite(loss) else self.clip


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
