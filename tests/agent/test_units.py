from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_agent.units import conversion, known_units


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (212.0, "degF", "degC", 100.0),
        (-40.0, "F", "celsius", -40.0),
        (25.0, "°C", "K", 298.15),
        (1013.25, "hPa", "Pa", 101_325.0),
        (760.0, "mmHg", "hPa", 1013.25),
        (29.92, "inHg", "mbar", 1013.2),
        (14.696, "psi", "kPa", 101.325),
        (36.0, "km/h", "m/s", 10.0),
        (1.0, "ft", "mm", 304.8),
        (45.0, "percent", "1", 0.45),
        (0.5, "mg/m3", "ug/m3", 500.0),
        (1.0, "kWh", "MJ", 3.6),
        (3000.0, "rpm", "Hz", 50.0),
        (180.0, "deg", "rad", math.pi),
    ],
)
def test_known_units_convert(value: float, source: str, target: str, expected: float) -> None:
    assert conversion(source, target)(value) == pytest.approx(expected, rel=1e-4)


@given(st.sampled_from(known_units()), st.sampled_from(known_units()), st.floats(-1e4, 1e4))
def test_a_conversion_and_its_way_back_cancel_or_both_are_refused(
    one: str, other: str, value: float
) -> None:
    try:
        there = conversion(one, other)
    except ValueError:
        with pytest.raises(ValueError, match="measures"):
            conversion(other, one)
    else:
        assert conversion(other, one)(there(value)) == pytest.approx(value, rel=1e-6, abs=1e-6)


def test_no_source_unit_means_the_models_unit() -> None:
    assert conversion("", "furlong")(3.0) == 3.0


def test_equal_names_need_not_be_known() -> None:
    assert conversion("furlong", "furlong")(3.0) == 3.0


def test_units_of_two_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="'hPa' measures pressure"):
        conversion("hPa", "degC")


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="'furlong' is not known"):
        conversion("furlong", "m")
