"""No feasible design that a search of its own finds is below the lower bound."""

import numpy as np
import pytest

from heliostat.design.cooperative import design_jointly
from heliostat.design.cooperative_bound import cooperative_lower_bound
from tests.support.adversary import SHAPES, random_scene, smallest_crb
from tests.support.sensing_scenes import sensing_scene

ROUNDING = 1e-9


PARTS, SCENES = 20, 50
"""Number of parts of the long attack, and of scenes in each."""


def excess_of_attack(seed, patterns, starts, shape=None):
    """Smallest CRB found over the lower bound; below 1 the bound would be wrong."""
    scene = random_scene(seed, shape)
    bound = cooperative_lower_bound(scene, patterns, thorough=True)
    ratio = smallest_crb(scene, patterns, starts=starts, seed=seed) / bound
    assert ratio >= 1 - ROUNDING, (seed, patterns, ratio)
    return ratio


@pytest.mark.parametrize(("patterns", "closest"), [(1, 1.1), (2, 1.5)])
def test_no_design_is_below_the_bound(patterns, closest):
    ratios = [excess_of_attack(seed, patterns, 2, SHAPES[0]) for seed in range(4)]
    # A search that stays far above every bound would show nothing.
    assert min(ratios) < closest


def test_the_search_works_without_a_limit_at_the_surfaces():
    assert all(np.isinf(surface.power) for surface in random_scene(3, SHAPES[0]).surfaces)
    assert excess_of_attack(3, 1, 2, SHAPES[0]) < 1.1


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_no_design_is_below_the_bound_in_a_thousand_scenes(part):
    """Both this search and the joint design, with a minimum SNR in every third scene."""
    closest = np.inf
    for seed in range(SCENES * part, SCENES * (part + 1)):
        patterns = 1 + (seed // len(SHAPES)) % 3
        scene = random_scene(seed)
        bound = cooperative_lower_bound(scene, patterns, thorough=True)
        found = [smallest_crb(scene, patterns, starts=2, seed=seed)]
        options = {"patterns": patterns, "starts": 4, "seed": seed}
        free = design_jointly(scene, min_snr=0.0, **options)
        found.append(free.worst_crb)
        if seed % 3 == 0:
            factor = 10 ** np.random.default_rng([seed, 3]).uniform(-0.3, 0.5)
            try:
                asked = factor * float(np.min(np.asarray(free.snr)))
                found.append(design_jointly(scene, min_snr=asked, **options).worst_crb)
            except ValueError:  # this SNR is out of reach
                pass
        assert min(found) >= bound * (1 - ROUNDING), (seed, patterns, min(found) / bound)
        closest = min(closest, min(found) / bound)
    assert closest < 1.05


def knee_scene(seed):
    """A scene in which the bound for both power limits is usually the largest."""
    rng = np.random.default_rng([seed, 5])
    return sensing_scene(
        rows=(3,),
        columns=(3,),
        antennas=6,
        surfaces=((-5.0, 10.0, 0.0),),
        seed=seed,
        surface_power=float(10 ** rng.uniform(-2.2, 0)),
        rician_factor=float(10 ** rng.uniform(-1, 1.5)),
    )


def excess_at_the_knee(seed):
    scene = knee_scene(seed)
    ratio = smallest_crb(scene, 1, starts=4, seed=seed) / cooperative_lower_bound(
        scene, thorough=True
    )
    assert ratio >= 1 - ROUNDING, (seed, ratio)
    return ratio


def test_no_design_is_below_the_bound_at_the_knee():
    assert np.median([excess_at_the_knee(seed) for seed in range(3)]) < 1.4


@pytest.mark.slow
def test_no_design_is_below_the_bound_at_a_hundred_knees():
    for seed in range(100):
        excess_at_the_knee(seed)
