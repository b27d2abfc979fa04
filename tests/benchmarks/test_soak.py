"""What a soak run found is judged by its slopes and by its sums."""

from __future__ import annotations

import pytest

from benchmarks.soak import FILES_MB, MEMORY_MB, Sample, Soaked, figures


def soaked(
    memory_mb: float = 0.0, files_mb: float = 0.0, *, lost: int = 0, peak: float = 0.0
) -> Soaked:
    """An hour whose second half grew by so much."""
    samples = tuple(
        Sample(
            seconds=30.0 * i,
            memory_mb=100 + 10 / i + peak * (i == 100) + max(0, i - 60) / 60 * memory_mb,
            files_mb=5 + max(0, i - 60) / 60 * files_mb,
            per_s=2_000,
            unanswered=0,
        )
        for i in range(1, 121)
    )
    return Soaked(samples, published=7_200_000, stored=10_000, counted=7_190_000 - lost)


def test_what_stays_flat_and_loses_nothing_passes() -> None:
    assert soaked().complaints() == []
    assert soaked(MEMORY_MB - 0.5, FILES_MB - 0.1).complaints() == []


def test_a_single_peak_is_no_growth() -> None:
    assert soaked(peak=500).complaints() == []


@pytest.mark.parametrize(
    ("run", "complaint"),
    [
        (soaked(memory_mb=MEMORY_MB + 1), "Memory grew by 8"),
        (soaked(files_mb=FILES_MB + 0.1), "The store grew by 1.1"),
        (soaked(lost=3), "3 of 7,200,000 messages are in no store and no count"),
        (soaked(lost=-3), "-3 of 7,200,000 messages are in no store and no count"),
    ],
)
def test_what_grows_or_is_lost_is_named(run: Soaked, complaint: str) -> None:
    (found,) = run.complaints()
    assert complaint in found


def test_an_agent_that_does_not_keep_up_is_not_judged() -> None:
    run = soaked()
    with pytest.raises(TimeoutError, match="too slowly"):
        Soaked(run.samples[-1:], 1, 1, 0).complaints()


def test_the_figures_tell_the_run() -> None:
    found = figures(soaked(memory_mb=2, lost=5))
    assert found["lost"] == 5
    assert found["messages_per_s"] == 2_000
    assert found["rss_mb_grown"] == pytest.approx(2, abs=0.2)
