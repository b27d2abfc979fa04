"""After which values of a quantity its detectors are asked."""

from __future__ import annotations

from headwater_agent.drift_settings import DriftSettings


class Due:
    """Count values, and say which end a mean, and which are of the sample.

    Parameters
    ----------
    settings
        How many values a mean is of, and which ones KSWIN sees.
    """

    def __init__(self, settings: DriftSettings) -> None:
        self._mean_of = settings.mean_of
        self._every = settings.kswin.every if settings.kswin.enabled else 0
        self._seen = 0

    def after(self, count: int) -> list[tuple[int, bool, bool]]:
        """Take so many values.

        Returns
        -------
        list
            The place of each that is due, whether it is of the sample, and whether it ends a mean.
        """
        seen, self._seen = self._seen, self._seen + count
        if not self._every and seen % self._mean_of + count < self._mean_of:
            return []
        ends = range(-(seen + 1) % self._mean_of, count, self._mean_of)
        if not self._every:
            return [(at, False, True) for at in ends]
        sample = range(-(seen + 1) % self._every, count, self._every)
        return [(at, at in sample, at in ends) for at in sorted({*ends, *sample})]
