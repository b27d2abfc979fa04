"""The federation core: events in, effects out. No I/O, no clock, no randomness of its own.

::

    core        takes events, holds every reply against its question, keeps the books
    fleet       who is there, what was asked of whom, who lacks the release
      pace        when devices check in and are handed releases, however many there are
      selection   who is asked for an update next
    discipline  when to ask and when to merge: rounds, or buffered
    candidacy   what becomes of a merge: judged by a sample of devices, released or refused

No event costs more for a larger fleet: whatever is looked for is kept in order (:mod:`.order`) or
in a pool (:mod:`.pool`).
"""

from headwater_coordinator.federation.core import Federation
from headwater_coordinator.federation.discipline import Training

__all__ = ["Federation", "Training"]
