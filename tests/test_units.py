"""Quantities with units, against conversions done by hand."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from heliostat import units
from heliostat.units import DIMENSIONS, format_quantity, parse_quantity, write_quantity

BY_HAND = [
    ("60 GHz", "frequency", 6e10),
    ("28e9 Hz", "frequency", 2.8e10),
    ("100MHz", "frequency", 1e8),
    ("0.14 THz", "frequency", 1.4e11),
    ("3 kHz", "frequency", 3e3),
    ("27 dBm", "power", 0.501187233627272),
    ("-80 dBm", "power", 1e-11),
    ("\N{MINUS SIGN}80 dBm", "power", 1e-11),
    ("0 dBW", "power", 1.0),
    ("0.1 W", "power", 0.1),
    ("5 mW", "power", 5e-3),
    ("2 kW", "power", 2e3),
    ("45 deg", "angle", math.pi / 4),
    ("0.7 rad", "angle", 0.7),
    ("-3 mrad", "angle", -3e-3),
    ("67 us", "time", 67e-6),
    ("67 \N{MICRO SIGN}s", "time", 67e-6),
    ("67 \N{GREEK SMALL LETTER MU}s", "time", 67e-6),
    ("1 ms", "time", 1e-3),
    ("2 ns", "time", 2e-9),
    ("7 m", "length", 7.0),
    ("3 cm", "length", 0.03),
    ("1.5 km", "length", 1500.0),
    ("2 mm", "length", 2e-3),
    ("1 m2", "area", 1.0),
    ("1 m²", "area", 1.0),
    ("1 m^2", "area", 1.0),
    ("5 cm2", "area", 5e-4),
    ("1 dBsm", "area", 1.258925411794167),
    ("-30 dB", "ratio", 1e-3),
    ("5 dB", "ratio", 3.162277660168380),
    ("0.001 linear", "ratio", 1e-3),
    ("12.4 Mbit/s", "rate", 1.24e7),
    (" .5e1  m ", "length", 5.0),
]


@pytest.mark.parametrize(("text", "dimension", "expected"), BY_HAND)
def test_a_quantity_means_what_it_does_by_hand(text, dimension, expected):
    np.testing.assert_allclose(parse_quantity(text, dimension), expected, rtol=1e-14)


def test_decimal_prefixes_lose_no_digit():
    assert parse_quantity("67 us", "time") == 67e-6
    assert parse_quantity("60 GHz", "frequency") == 60e9
    assert parse_quantity("0.3 mm", "length") == 0.3e-3


@pytest.mark.parametrize(
    ("value", "dimension", "message"),
    [
        (60, "frequency", "60 has no unit; write it with a unit, e.g. 60 GHz"),
        (60e9, "frequency", "has no unit"),
        ("60e9", "frequency", "'60e9' has no unit; write it with a unit, e.g. 60 GHz"),
        (10**400, "frequency", "has no unit"),
        ("60 m", "frequency", "'60 m' is a length, not a frequency; write e.g. 60 GHz"),
        ("3 dB", "power", "a ratio of powers, not a power; write e.g. 27 dBm"),
        ("60 ghz", "frequency", "unknown unit 'ghz'; did you mean GHz?"),
        ("60 quux", "frequency", "unknown unit 'quux'; write one of Hz, kHz, MHz, GHz, THz"),
        ("nan Hz", "frequency", "not finite"),
        (".inf", "length", "not finite"),
        ("-inf m", "length", "not finite"),
        (math.nan, "time", "not finite"),
        (math.inf, "time", "not finite"),
        ("1e999 Hz", "frequency", "not finite"),
        ("1e9 dBm", "power", "not finite"),
        (False, "time", "False is not a time"),
        (None, "time", "None is not a time"),
        ([1], "time", r"\[1\] is not a time"),
        ("1,5 GHz", "frequency", "not a number with a unit"),
        ("GHz", "frequency", "not a number with a unit"),
        ("", "frequency", "not a number with a unit"),
        ("no", "frequency", "not a number with a unit"),
    ],
)
def test_what_is_no_quantity_is_refused_with_a_remedy(value, dimension, message):
    with pytest.raises(ValueError, match=message):
        parse_quantity(value, dimension)


def test_an_unknown_dimension_is_refused():
    with pytest.raises(ValueError, match="known are frequency, time"):
        parse_quantity("1 kg", "mass")


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (6e10, "frequency", "60 GHz"),
        (0.0032, "length", "3.2 mm"),
        (999.96, "length", "1 km"),
        (0.9994, "length", "999 mm"),
        (12.4e6, "rate", "12.4 Mbit/s"),
        (math.radians(0.31), "angle", "0.31 deg"),
        (1e-11, "power", "-80 dBm"),
        (0.5, "power", "27 dBm"),
        (2e-3, "ratio", "-27 dB"),
        (67e-6, "time", "67 µs"),
        (5.43e-4, "length", "543 µm"),
        (-0.25, "length", "-250 mm"),
        (0, "length", "0 m"),
        (0, "angle", "0 deg"),
        (0, "power", "0 W"),
        (0, "ratio", "0 linear"),
        (math.inf, "length", "inf m"),
        (math.inf, "angle", "inf deg"),
        (math.inf, "power", "inf W"),
        (-math.inf, "time", "-inf s"),
        (math.nan, "rate", "nan bit/s"),
    ],
)
def test_a_quantity_is_shown_in_the_unit_of_its_size(value, dimension, text):
    assert format_quantity(value, dimension) == text


@given(st.sampled_from(sorted(DIMENSIONS)), st.floats(-1e15, 1e15))
def test_what_is_written_reads_back_exactly(dimension, value):
    assume(value > 0 or not DIMENSIONS[dimension].shown[0].startswith("dB"))
    assert parse_quantity(write_quantity(value, dimension), dimension) == value


@given(st.sampled_from(sorted(DIMENSIONS)), st.floats(1e-12, 1e15))
def test_what_is_shown_is_near(dimension, value):
    shown = parse_quantity(format_quantity(value, dimension), dimension)
    # Three digits leave 0.5 % at most, a tenth of a decibel 1.2 %.
    assert shown == pytest.approx(value, rel=0.0125)


@given(st.text(), st.sampled_from(sorted(DIMENSIONS)))
def test_any_text_is_finite_or_refused(text, dimension):
    try:
        value, message = parse_quantity(text, dimension), ""
    except ValueError as error:
        value, message = 0.0, str(error)
    assert math.isfinite(value)
    assert not message or "; write " in message or "; did you mean " in message


def test_scales_of_arrays():
    np.testing.assert_allclose(units.to_dbm([1.0, 1e-3]), [30.0, 0.0], atol=1e-13)
    np.testing.assert_allclose(units.from_db([10.0, -30.0]), [10.0, 1e-3], rtol=1e-15)
    np.testing.assert_allclose(units.to_db(100.0), 20.0, rtol=1e-15)
    np.testing.assert_allclose(units.to_deg(math.pi / 2), 90.0, rtol=1e-15)
    assert units.to_dbm(0.0) == -math.inf


def test_long_values_are_shortened():
    assert len(units.quote("x" * 1000)) < 70
    assert units.quote(10**5000) == "a value too large to show"
