"""Truths: the bound by definition, a brute-force grid of one offset, rivals one would try first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.bounds.pose import error_bounds, pose_information_by_definition
from heliostat.design.alignment_codebook import (
    design_sweep,
    region_peb,
    region_value,
    with_sweep,
)
from heliostat.surface.passive import Phased, Steered, random_phases
from tests.support.scenes import localization_scene

ACTIVE = 4


def scene_and_region(width=6.0):
    scene = localization_scene(
        gain_known=False, antennas=8, user_antennas=8, focus=(20.0, 40.0, 0.0)
    )
    x, y = np.meshgrid([20 - width, 20.0, 20 + width], [40 - width, 40.0, 40 + width])
    places = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    return scene, jnp.asarray(places)


def dft_sweep(scene, positions, configurations):
    """Beams of the panel's DFT grid that are nearest to the center of a region."""
    array = scene.surface.array
    seen = np.asarray(jax.vmap(scene.departure)(positions))
    middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
    step = 1 / (np.asarray(array.spacing) * np.array([array.columns, array.rows]))
    grids = np.meshgrid(*(np.arange(-n, n) for n in (array.columns, array.rows)))
    beams = np.stack([g.ravel() for g in grids], axis=1) * step
    nearest = np.argsort(np.linalg.norm((beams - middle) / step, axis=1))[:configurations]
    return Steered(jnp.asarray(middle), jnp.asarray(beams[nearest] - middle))


def random_sweep(scene, configurations, key):
    """Configurations of random phases."""
    return Phased(random_phases(key, configurations, scene.surface.array.elements))


@pytest.mark.parametrize("criterion", ["worst", "mean"])
def test_design_beats_what_one_would_try_first(criterion):
    scene, places = scene_and_region()
    design = design_sweep(scene, places, 4, active_antennas=ACTIVE, criterion=criterion, starts=4)
    # What it says of itself holds by the definition.
    swept = with_sweep(scene, design.sweep)
    literal = jax.jit(
        lambda where: jax.lax.map(
            lambda p: error_bounds(
                pose_information_by_definition(swept.with_user(p, scene.user.heading), ACTIVE)
            )[0],
            where,
        )
    )(places)
    np.testing.assert_allclose(design.peb, literal, rtol=1e-6)
    expected = np.max(literal) if criterion == "worst" else np.sqrt(np.mean(np.square(literal)))
    np.testing.assert_allclose(design.value, expected, rtol=1e-6)
    rivals = [
        dft_sweep(scene, places, 4),
        Steered(design.sweep.focus, jnp.array([[1.0, 0], [-1.0, 0], [0, 1.4], [0, -1.4]]) / 8),
        *(random_sweep(scene, 4, jax.random.key(i)) for i in range(5)),
    ]
    for rival in rivals:
        peb = region_peb(with_sweep(scene, rival), places, ACTIVE)
        assert design.value < region_value(peb, criterion)


def test_two_configurations_for_one_place_are_as_good_as_a_fine_grid():
    scene, places = scene_and_region()
    place = places[4:5]
    design = design_sweep(scene, place, 2, active_antennas=ACTIVE, starts=6)
    beamwidth, grid = 1 / 8, np.linspace(0.05, 1.5, 30)
    steps = jnp.asarray(grid * beamwidth)

    def opposite(step):
        offset = jnp.stack([jnp.stack([step, 0 * step]), jnp.stack([-step, 0 * step])])
        swept = with_sweep(scene, Steered(scene.departure(place[0]), offset))
        return region_peb(swept, place, ACTIVE)[0]

    assert float(design.value) < float(jnp.min(jax.vmap(opposite)(steps))) * (1 + 1e-3)


def test_one_configuration_for_an_unknown_gain_is_refused():
    scene, places = scene_and_region()
    with pytest.raises(ValueError, match="no 1 configurations were found"):
        design_sweep(scene, places, 1, active_antennas=ACTIVE, starts=1)
