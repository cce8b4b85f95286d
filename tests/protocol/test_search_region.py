"""Truths: geometry by hand, power budgets by definition, random designs."""

import jax.numpy as jnp
import numpy as np
import pytest

from heliostat.estimation.direction import cosine_grid
from heliostat.observation.echoes import target_steering
from heliostat.protocol.multi_dwell import dwell_bounds, transmission_of
from heliostat.protocol.search_region import (
    Region,
    default_region,
    region_grids,
    sample_positions,
    with_assumed_target,
)
from heliostat.surface.active import reflected_power
from tests.support.dwells import (
    PATTERNS,
    REGION,
    SNAPSHOTS,
    designed_scans,
    random_design,
    scene_of,
)


@pytest.fixture(scope="module")
def scans():
    return designed_scans()


def test_region_contains_its_corners_and_a_margin():
    region = Region(jnp.array([0.0, -1.0, 2.0]), jnp.array([1.0, 1.0, 4.0]))
    np.testing.assert_array_equal(region.center, [0.5, 0.0, 3.0])
    assert region.contains(region.low)
    assert region.contains(region.high)
    outside = jnp.array([0.5, 1.2, 3.0])
    assert not region.contains(outside)
    assert not region.contains(outside, 0.1)
    assert region.contains(outside, 0.3)


def test_default_region_by_hand():
    # The farther surface is at (-5, 20, 0), the base station in the origin; normals along x.
    box, far = default_region(scene_of()), np.hypot(5.0, 20.0)
    np.testing.assert_allclose(box.low, [-5.0, 10 - far / 2, -far / 2], rtol=1e-12)
    np.testing.assert_allclose(box.high, [far - 5, 10 + far / 2, far / 2], rtol=1e-12)


def test_sampled_positions_are_uniform_in_the_region_in_front_of_the_surfaces():
    # Half of the region is behind the surfaces, which are in the plane x = -5.
    region, count = Region(jnp.array([-15.0, 8.0, -2.0]), jnp.array([5.0, 22.0, 4.0])), 2000
    scene = scene_of()
    places = sample_positions(region, scene, count, 3)
    assert places.shape == (count, 3)
    for surface in scene.surfaces:
        offset = places - np.asarray(surface.position)
        cosine = offset[:, 0] / np.linalg.norm(offset, axis=1)
        assert cosine.min() > 0.05
    # Positions at a grazing angle are left out, which are few at a distance from the plane.
    far = places[places[:, 0] > -4.0]
    low, high = np.array([-4.0, 8.0, -2.0]), np.array([5.0, 22.0, 4.0])
    assert (far >= low).all()
    assert (far <= high).all()
    tolerance = 4 * (high - low) / np.sqrt(12 * len(far))
    assert (np.abs(far.mean(axis=0) - (low + high) / 2) < tolerance).all()


def test_a_region_behind_a_surface_is_refused():
    behind = Region(jnp.array([-9.0, 8.0, -2.0]), jnp.array([-6.0, 22.0, 4.0]))
    with pytest.raises(ValueError, match="behind a surface"):
        sample_positions(behind, scene_of(), 8, 0)


def test_grids_are_the_part_of_the_panels_grids_around_the_region():
    scene = scene_of()
    places = sample_positions(REGION, scene, 200, 3)
    for surface, grid in zip(scene.surfaces, region_grids(scene, REGION), strict=True):
        full = cosine_grid(surface.array)
        way = places - np.asarray(surface.position)
        way /= np.linalg.norm(way, axis=1)[:, None]
        for axis, side, whole in (
            (1, grid.horizontal, full.horizontal),
            (2, grid.vertical, full.vertical),
        ):
            assert np.isin(side, whole).all()
            assert side.size <= whole.size
            assert side[0] < way[:, axis].min()
            assert side[-1] > way[:, axis].max()
    assert grid.vertical.size < full.vertical.size


def test_assumed_gains_decrease_with_the_squared_distance():
    # Distances from (-5, 10, 0) and (-5, 20, 0): 10 and sqrt(200).
    scene = with_assumed_target(scene_of(), np.array([5.0, 10.0, 0.0]), 0.02)
    np.testing.assert_array_equal(scene.target.position, [5.0, 10.0, 0.0])
    np.testing.assert_allclose(scene.target_gain, [2e-4, 1e-4], rtol=1e-12)


def test_scans_keep_every_power_limit_and_serve_other_positions(scans):
    scene = scans.scene
    for number in (0, 1):
        design = scans[number]
        assert scans[number] is design
        sent = sum(float(jnp.real(jnp.einsum("kaa->", r))) for r in design.covariance)
        assert sent / (2 * PATTERNS) <= float(scene.base_station.power) * (1 + 1e-9)
        for i, surface in enumerate(scene.surfaces):
            assert float(jnp.max(jnp.abs(design.reflection[i]))) <= 8.0 * (1 + 1e-9)
            steering = target_steering(surface.array, scene.angles()[i])
            for psi, sent in zip(design.reflection[i], design.covariance[i], strict=True):
                power = reflected_power(
                    psi, scene.bs_to_irs[i], sent, steering, scene.target_gain[i], surface.noise
                )
                # The echo's share of the radiated power is a millionth.
                assert float(power.total) <= float(surface.power) * (1 + 1e-5)
    # At positions that the scans were not designed for, they beat random designs.
    scanned = [transmission_of(scans[n], SNAPSHOTS) for n in (0, 1)]
    random = [transmission_of(random_design(scene, n), SNAPSHOTS) for n in (0, 1)]
    places = sample_positions(REGION, scene, 20, 99)
    targets = [with_assumed_target(scene, place, 0.01) for place in places]
    designed, undesigned = (
        [float(dwell_bounds(at, dwells).bound) for at in targets] for dwells in (scanned, random)
    )
    assert np.median(designed) < 0.5 * np.median(undesigned)
