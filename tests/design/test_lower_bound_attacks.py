"""No feasible design that a search of its own finds is below the lower bound."""

import numpy as np
import pytest

from heliostat.design.cooperative import design_jointly
from heliostat.design.cooperative_bound import cooperative_lower_bound
from tests.support.adversary import SHAPES, random_scene, smallest_crb
from tests.support.sensing_scenes import sensing_scene

ROUNDING = 1e-9


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


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_no_design_is_below_the_bound_in_a_hundred_scenes(block):
    for seed in range(100 * block, 100 * block + 100):
        patterns = 1 + (seed // 3) % 3
        excess_of_attack(seed, patterns, 8)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_no_design_with_a_minimum_snr_is_below_the_bound(seed):
    scene = random_scene(seed)
    patterns = 1 + seed % 2
    free = design_jointly(scene, patterns=patterns, min_snr=0.0, starts=4)
    asked = 1.2 * float(np.min(np.asarray(free.snr)))
    bound = cooperative_lower_bound(scene, patterns, thorough=True)
    try:
        heard = design_jointly(scene, patterns=patterns, min_snr=asked, starts=4)
    except ValueError:  # this SNR is out of reach
        return
    assert min(free.worst_crb, heard.worst_crb) >= bound * (1 - ROUNDING)


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
