"""Units of measurement: a linear conversion inside a dimension, a refusal between two."""

from __future__ import annotations

from dataclasses import dataclass

_UNITS: dict[str, dict[str, tuple[float, float]]] = {
    "temperature (K)": {
        "K": (1.0, 0.0),
        "degC": (1.0, 273.15),
        "degF": (5 / 9, 273.15 - 32 * 5 / 9),
        "degR": (5 / 9, 0.0),
    },
    "pressure (Pa)": {
        "Pa": (1.0, 0.0),
        "hPa": (100.0, 0.0),
        "kPa": (1e3, 0.0),
        "MPa": (1e6, 0.0),
        "bar": (1e5, 0.0),
        "mbar": (100.0, 0.0),
        "atm": (101_325.0, 0.0),
        "mmHg": (133.322387415, 0.0),
        "inHg": (3386.389, 0.0),
        "psi": (6894.757293168, 0.0),
    },
    "speed (m/s)": {
        "m/s": (1.0, 0.0),
        "km/h": (1 / 3.6, 0.0),
        "mph": (0.44704, 0.0),
        "kn": (1852 / 3600, 0.0),
        "ft/s": (0.3048, 0.0),
    },
    "length (m)": {
        "m": (1.0, 0.0),
        "um": (1e-6, 0.0),
        "mm": (1e-3, 0.0),
        "cm": (1e-2, 0.0),
        "km": (1e3, 0.0),
        "in": (0.0254, 0.0),
        "ft": (0.3048, 0.0),
        "mi": (1609.344, 0.0),
    },
    "acceleration (m/s2)": {"m/s2": (1.0, 0.0), "mg": (9.80665e-3, 0.0), "g": (9.80665, 0.0)},
    "ratio (1)": {"1": (1.0, 0.0), "%": (1e-2, 0.0), "ppm": (1e-6, 0.0), "ppb": (1e-9, 0.0)},
    "concentration (kg/m3)": {
        "kg/m3": (1.0, 0.0),
        "g/m3": (1e-3, 0.0),
        "mg/m3": (1e-6, 0.0),
        "ug/m3": (1e-9, 0.0),
    },
    "power (W)": {
        "W": (1.0, 0.0),
        "mW": (1e-3, 0.0),
        "kW": (1e3, 0.0),
        "MW": (1e6, 0.0),
        "hp": (745.699871582, 0.0),
    },
    "energy (J)": {
        "J": (1.0, 0.0),
        "kJ": (1e3, 0.0),
        "MJ": (1e6, 0.0),
        "Wh": (3.6e3, 0.0),
        "kWh": (3.6e6, 0.0),
        "MWh": (3.6e9, 0.0),
    },
    "voltage (V)": {"V": (1.0, 0.0), "mV": (1e-3, 0.0), "kV": (1e3, 0.0)},
    "current (A)": {"A": (1.0, 0.0), "mA": (1e-3, 0.0), "uA": (1e-6, 0.0)},
    "frequency (Hz)": {"Hz": (1.0, 0.0), "kHz": (1e3, 0.0), "MHz": (1e6, 0.0), "rpm": (1 / 60, 0)},
    "angle (rad)": {"rad": (1.0, 0.0), "deg": (0.017453292519943295, 0.0)},
    "duration (s)": {
        "s": (1.0, 0.0),
        "us": (1e-6, 0.0),
        "ms": (1e-3, 0.0),
        "min": (60.0, 0.0),
        "h": (3600.0, 0.0),
    },
    "volume (m3)": {"m3": (1.0, 0.0), "L": (1e-3, 0.0), "mL": (1e-6, 0.0)},
    "flow (m3/s)": {"m3/s": (1.0, 0.0), "m3/h": (1 / 3600, 0.0), "L/min": (1 / 60_000, 0.0)},
    "mass (kg)": {"kg": (1.0, 0.0), "t": (1e3, 0.0), "lb": (0.45359237, 0.0)},
}

_ALIASES = {
    "C": "degC",
    "°C": "degC",
    "celsius": "degC",
    "F": "degF",
    "°F": "degF",
    "fahrenheit": "degF",
    "kelvin": "K",
    "percent": "%",
    "ratio": "1",
    "µg/m3": "ug/m3",
    "µg/m³": "ug/m3",
    "μg/m³": "ug/m3",
    "ug/m^3": "ug/m3",
    "mg/m³": "mg/m3",
    "m/s²": "m/s2",
    "kmh": "km/h",
    "knots": "kn",
    "lpm": "L/min",
    "degrees": "deg",
}

_TABLE = {
    unit: (dimension, scale, offset)
    for dimension, units in _UNITS.items()
    for unit, (scale, offset) in units.items()
}


@dataclass(frozen=True, slots=True)
class Conversion:
    """``scale * x + offset``."""

    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, value: float) -> float:
        """Convert one value."""
        return self.scale * value + self.offset


def known_units() -> tuple[str, ...]:
    """Return every unit that can be converted, without its other spellings."""
    return tuple(_TABLE)


def conversion(source: str, target: str) -> Conversion:
    """Return how a value in *source* becomes one in *target*.

    An empty source means that the values already come in the target's unit. Two equal names are
    no conversion, known or not.

    Raises
    ------
    ValueError
        With a sentence, when a unit is not known or the two measure different things.

    Examples
    --------
    >>> round(conversion("degF", "degC")(212.0), 6)
    100.0
    """
    if source in ("", target) or _plain(source) == _plain(target):
        return Conversion()
    (dimension, scale, offset), (wanted, scale_to, offset_to) = _look_up(source), _look_up(target)
    if dimension != wanted:
        raise ValueError(
            f"{source!r} measures {dimension}, but the model's {target!r} measures {wanted}"
        )
    return Conversion(scale / scale_to, (offset - offset_to) / scale_to)


def other_units(unit: str) -> tuple[Conversion, ...]:
    """Return the conversions into *unit* from every other one that measures the same.

    None where the unit is not known.

    Examples
    --------
    >>> [round(convert(300.0), 2) for convert in other_units("degC")]    # from K, degF, degR
    [26.85, 148.89, -106.48]
    """
    found = _TABLE.get(_plain(unit))
    if found is None:
        return ()
    alike = (other for other in _TABLE if _TABLE[other][0] == found[0] and other != _plain(unit))
    return tuple(conversion(other, unit) for other in alike)


def _plain(unit: str) -> str:
    return _ALIASES.get(unit, unit)


def _look_up(unit: str) -> tuple[str, float, float]:
    found = _TABLE.get(_plain(unit))
    if found is None:
        raise ValueError(f"the unit {unit!r} is not known; known are {', '.join(_TABLE)}")
    return found
