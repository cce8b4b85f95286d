"""Terms of surfaces at positions of users with different arrays. Truth: what was split."""

import numpy as np

from heliostat.maps.placement import Base, Terms, joined


def test_the_parts_of_an_array_are_joined_to_it():
    rng = np.random.default_rng(0)
    index = [np.array([0, 3]), np.array([4, 1, 2])]
    antennas = [2, 3]

    def numbers(*shape):
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    whole = Terms(rng.normal(size=(12, 4, 5)), numbers(4, 5, 3), numbers(4, 6))
    sums = Base(rng.normal(size=(12, 5)), numbers(5, 3, 6))
    whole.receive[:, index[0], 2] = 0.0  # the first users have two antennas
    sums.amplitude[index[0], 2] = 0.0
    terms, starts = [], []
    for at, count in zip(index, antennas, strict=True):
        receive = whole.receive[:, at, :count]
        terms.append(Terms(whole.information[:, :, at], receive, whole.transmit))
        starts.append(Base(sums.information[:, at], sums.amplitude[at, :count]))
    for expected, parts in ((whole, terms), (sums, starts)):
        for array, found in zip(expected, joined(parts, index), strict=True):
            np.testing.assert_array_equal(found, array)
