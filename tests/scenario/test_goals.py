"""Goals of a placement."""

import numpy as np
import pytest

from heliostat.scenario.goals import Goal, parse_goals

PEB, RATE = Goal("peb", 0.1), Goal("rate", 1e8)


@pytest.mark.parametrize(
    ("text", "goals"),
    [
        ("peb below 10 cm", (PEB,)),
        ("rate  above 100 Mbit/s", (RATE,)),
        (" peb below 0.1 m and rate above 0.1 Gbit/s ", (PEB, RATE)),
        ("rate above 100 Mbit/s and peb below 100 mm", (RATE, PEB)),
    ],
)
def test_goals_are_limits_with_units(text, goals):
    assert parse_goals(text) == goals


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' is not a goal; write 'peb below 10 cm'"),
        ("reb below 1 deg", "'reb below 1 deg' is not a goal"),
        ("peb above 1 m", "'peb above 1 m' has no 'below'"),
        ("rate below 1 Mbit/s", "has no 'above'"),
        ("peb below", "'' is not a number with a unit"),
        ("peb below 10", "'10' has no unit"),
        ("peb below 0 m", "limit that is not positive"),
        ("peb below 1 m and peb below 2 m", "has two limits on the peb"),
        ("peb below 1 m or rate above 1 Mbit/s", "'1 m or rate above 1 Mbit/s'"),
    ],
)
def test_other_texts_are_refused(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_goals(text)


def test_quantiles_are_what_90_percent_attain():
    # Truth: of 20 values, 18 are at most the 18th, or at least the third.
    values = np.random.default_rng(1).permutation(np.arange(1.0, 21))
    assert PEB.quantile_90(values) == 18
    assert RATE.quantile_90(values) == 3
    assert PEB.quantile_90(np.array([5.0])) == RATE.quantile_90(np.array([5.0])) == 5


def test_fulfillment_is_between_none_and_the_limit():
    np.testing.assert_allclose(PEB.fulfillment(np.array([0.05, 0.1, 0.4, np.inf])), [1, 1, 0.25, 0])
    np.testing.assert_allclose(RATE.fulfillment(np.array([2e8, 5e7, 0])), [1, 0.5, 0])
    assert PEB.met(np.array([0.1, 0.09])).tolist() == [False, True]
    assert RATE.met(np.array([1e8, 1.1e8])).tolist() == [False, True]
