"""What came of a number of questions."""

from __future__ import annotations

from dataclasses import dataclass, field

from headwater import wire


@dataclass(slots=True)
class Tally:
    """Answers counted; ``open`` names the questions that are not answered."""

    open: set[str] = field(default_factory=set)
    deadline_ms: int = 0
    asked: int = 0
    accepted: int = 0
    refused: int = 0
    declined: int = 0
    failed: int = 0

    def ask(self, name: str) -> None:
        """Count a question."""
        self.open.add(name)
        self.asked += 1

    def settle(self, name: str, outcome: wire.Reply | None, *, refused: bool) -> bool:
        """Count an answer, None: none will come; say whether it was waited for."""
        if name not in self.open:
            return False
        self.open.discard(name)
        if refused:
            self.refused += 1
        elif outcome is None:
            self.failed += 1
        elif type(outcome) is wire.Declined:
            self.declined += 1
        else:
            self.accepted += 1
        return True

    def due(self, now: int) -> bool:
        """Whether everyone answered or the time is up."""
        return not self.open or now >= self.deadline_ms
