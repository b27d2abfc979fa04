from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.drift_settings import DriftSettings, Kswin
from headwater_agent.due import Due


@given(
    counts=st.lists(st.integers(0, 30), max_size=10),
    mean_of=st.integers(1, 24),
    every=st.one_of(st.none(), st.integers(1, 24)),
)
def test_each_value_is_due_whose_number_is_a_multiple(
    counts: list[int], mean_of: int, every: int | None
) -> None:
    kswin = Kswin(enabled=every is not None, every=every or 1)
    due, seen = Due(DriftSettings(mean_of=mean_of, kswin=kswin)), 0
    for count in counts:
        numbers = range(seen + 1, seen + count + 1)
        answers = [(bool(every) and n % (every or 1) == 0, n % mean_of == 0) for n in numbers]
        expected = [(at, *one) for at, one in enumerate(answers) if any(one)]
        assert due.after(count) == expected
        seen += count
