"""Truths: the single-dwell estimator, the definition of the bound, geometry by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from heliostat.estimation.direction import likeliest_direction
from heliostat.observation.echoes import echo_mean
from heliostat.protocol.multi_dwell import locate, matched_energy, stack_dwells, with_duration
from heliostat.protocol.search_region import region_grids
from tests.support.dwells import REGION, heard_in, parts_of, scene_of


def test_a_second_echo_is_flagged_as_by_the_direction_estimator():
    # An energy of 80 over the noise at one surface, where the standard deviation of the total
    # energy over 480 samples is 22.
    scene = scene_of()
    dwells, grids = heard_in(scene, [1, 2, 3]), region_grids(scene, REGION)
    assert locate(scene, dwells, grids, REGION).consistent

    other = scene.angles(jnp.array([2.0, 19.0, 3.0]))[0]
    unit = eqx.tree_at(lambda s: s.target_gain, scene, jnp.ones(2, dtype=complex))

    def echo_of(psi, signal):
        return echo_mean(unit.link(0), psi, other, jnp.ones((), dtype=complex), signal)

    transmissions = [d.transmission for d in dwells]
    means = [
        jax.vmap(echo_of)(d.transmission.reflection[0], d.transmission.transmitted[0])
        for d in dwells
    ]
    with_unit = [
        eqx.tree_at(lambda d: d.echoes[0], d, m) for d, m in zip(dwells, means, strict=True)
    ]
    energy = matched_energy(scene, stack_dwells(with_unit)[0], jnp.stack([other, other]))[0]
    level = jnp.sqrt(80.0 / energy)
    disturbed = [
        eqx.tree_at(lambda d: d.echoes[0], d, d.echoes[0] + level * m)
        for d, m in zip(dwells, means, strict=True)
    ]

    joined = [part[0] for part in parts_of(disturbed)]
    alone = likeliest_direction(with_duration(scene, 3).link(0), *joined, grids[0])
    assert jnp.abs(alone.misfit - 1) < 5 * alone.misfit_std
    assert not alone.fits

    found = locate(scene, disturbed, grids, REGION)
    assert not found.consistent
    assert found.second_echo_p_value[0] == pytest.approx(float(alone.second_echo_p_value), rel=1e-6)
    assert found.second_echo_p_value[1] > 1e-3
