"""Truths: the differentiated echo, finite differences, paper eq. (16), and cases on paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from heliostat.bounds.direction import (
    direction_bound,
    direction_information,
    position_bound,
    scene_information,
)
from heliostat.observation.echoes import echo_mean, noise_covariance
from tests.support.direction_definition import direction_information_by_definition, full_information
from tests.support.sensing_scenes import random_covariance, random_reflections, sensing_scene

OFF_AXIS = {"target": (5.0, 15.0, 3.0), "rows": (3, 4), "columns": (5, 4), "spacing": (0.4, 0.7)}


def arguments(scene, i=0, patterns=1, rank=3, power=20.0):
    rng = np.random.default_rng(4)
    antennas = scene.base_station.array.elements
    covariance = jnp.stack([random_covariance(rng, antennas, rank, power) for _ in range(patterns)])
    reflection = random_reflections(scene, patterns=patterns)[i]
    return scene.link(i), reflection, covariance, scene.angles()[i], scene.target_gain[i]


@pytest.mark.parametrize("patterns", [1, 3])
@pytest.mark.parametrize("rank", [1, 2, 16])
@pytest.mark.parametrize("amplification", [8.0, 128.0])
def test_compressed_form_equals_the_definition(patterns, rank, amplification):
    scene = sensing_scene(amplification=amplification, **OFF_AXIS)
    for i in range(2):
        args = arguments(scene, i, patterns, rank)
        compressed = direction_information(*args)
        definition = direction_information_by_definition(*args)
        size = np.sqrt(np.outer(definition.reference, definition.reference))
        difference = compressed.information - definition.information
        np.testing.assert_allclose(difference / size, 0, atol=1e-11)
        np.testing.assert_allclose(compressed.reference, definition.reference, rtol=1e-10)
        np.testing.assert_allclose(compressed.snr, definition.snr, rtol=1e-10)
        np.testing.assert_allclose(compressed.coupling, definition.coupling, rtol=1e-8)


def test_bound_is_the_trace_of_the_inverted_full_matrix():
    args = arguments(sensing_scene(**OFF_AXIS), patterns=2)
    inverse = np.linalg.inv(full_information(*args))
    bound = direction_bound(direction_information(*args))
    np.testing.assert_allclose(bound.crb, np.trace(inverse), rtol=1e-9)
    np.testing.assert_allclose(bound.direction_std**2, np.diag(inverse)[:2], rtol=1e-9)
    np.testing.assert_allclose(bound.gain_var, np.trace(inverse[2:, 2:]), rtol=1e-7)
    assert bound.lost_names() == []


def test_full_matrix_equals_finite_differences():
    link, reflection, covariance, angles, gain = arguments(sensing_scene(**OFF_AXIS))
    values, vectors = np.linalg.eigh(covariance[0])
    sent = jnp.asarray(vectors * np.sqrt(np.maximum(values, 0)))
    whiten = np.linalg.inv(np.linalg.cholesky(noise_covariance(link, reflection[0])))
    at = np.array([*angles, gain.real, gain.imag])
    step = np.array([1e-5, 1e-5, 1e-5 * abs(gain), 1e-5 * abs(gain)])

    def samples(x):
        mean = echo_mean(
            link, reflection[0], jnp.asarray(x[:2]), jnp.asarray(x[2] + 1j * x[3]), sent
        )
        return np.ravel(whiten @ mean)

    columns = [(samples(at + d) - samples(at - d)) / (2 * d.sum()) for d in np.diag(step)]
    jacobian = np.stack(columns, axis=1)
    expected = 2 * float(link.symbols) * np.real(jacobian.conj().T @ jacobian)
    actual = full_information(link, reflection, covariance, angles, gain)
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose((actual - expected) / size, 0, atol=1e-8)


def test_full_matrix_equals_the_papers_corrected_traces():
    """(16) with the real part in (16d) and the conjugate of beta in (16e), (16f)."""
    link, reflection, covariance, angles, gain = arguments(sensing_scene(**OFF_AXIS))
    psi, g, r = np.asarray(reflection[0]), np.asarray(link.bs_to_irs), np.asarray(covariance[0])
    theta, phi = (float(x) for x in angles)
    (dh, dv), (rows, columns) = (0.4, 0.7), (3, 5)
    row, column = np.divmod(np.arange(15), columns)
    a = np.exp(2j * np.pi * (dh * column * np.sin(theta) * np.cos(phi) + dv * row * np.cos(theta)))
    assert rows * columns == a.size
    zeta_theta = 2j * np.pi * (dh * np.cos(theta) * np.cos(phi) * column - dv * np.sin(theta) * row)
    zeta_phi = -2j * np.pi * dh * np.sin(theta) * np.sin(phi) * column
    v, v_theta, v_phi = (g.T @ (psi * z * a) for z in (1, zeta_theta, zeta_phi))
    h = np.outer(v, v)
    c = [np.outer(w, v) + np.outer(v, w) for w in (v_theta, v_phi)]
    inverse = np.linalg.inv(noise_covariance(link, reflection[0]))
    twice = 2 * float(link.symbols)

    def trace(x, y):
        return np.trace(x.conj().T @ inverse @ y @ r)

    expected = np.zeros((4, 4))
    for i in range(2):
        for j in range(2):
            expected[i, j] = twice * abs(gain) ** 2 * np.real(trace(c[i], c[j]))
        coupling = twice * np.real(np.conj(gain) * trace(c[i], h) * np.array([1, 1j]))
        expected[i, 2:] = expected[2:, i] = coupling
    expected[2:, 2:] = twice * np.real(trace(h, h)) * np.eye(2)
    actual = full_information(link, reflection, covariance, angles, gain)
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose((actual - expected) / size, 0, atol=1e-12)


def test_single_surface_on_paper():
    """Orthogonal unit channel, matched phases, isotropic power, target straight ahead.

    With G = I (as many antennas as elements), psi = conj(a), R = (P/N) I and white noise, v is the
    vector of ones and v_i = j k x_i (v), k = 2 pi d, x_i the element's row or column number. Both
    Schur complements are k² N var(x), so J = 2 T |beta|² (P/N) / sigma² 2 N · N k² var(x).
    """
    scene = sensing_scene(antennas=16, surface_noise=0.0, target=(5.0, 10.0, 0.0))
    link = scene.link(0)
    angles, gain = scene.angles()[0], scene.target_gain[0]
    np.testing.assert_allclose(angles, np.pi / 2)
    # Straight ahead the azimuth turns the column phase, the elevation the row phase, both by -k.
    link = type(link)(
        link.array, jnp.eye(16, dtype=complex), link.surface_noise, link.noise, link.symbols
    )
    psi, power = jnp.ones((1, 16), dtype=complex), 3.0
    covariance = power / 16 * jnp.eye(16, dtype=complex)[None]
    bound = direction_bound(direction_information(link, psi, covariance, angles, gain))
    variance_of_index = (4**2 - 1) / 12
    per_angle = (
        2 * 50 * abs(gain) ** 2 * (power / 16) / 1e-11
        * 2 * 16 * 16 * np.pi**2 * variance_of_index
    )  # fmt: skip
    np.testing.assert_allclose(bound.direction_std**2, 1 / per_angle, rtol=1e-12)
    np.testing.assert_allclose(bound.snr, 50 * abs(gain) ** 2 * power / 16 / 1e-11 * 16**2)


def test_bound_falls_with_power_and_time():
    base = direction_bound(direction_information(*arguments(sensing_scene(**OFF_AXIS))))
    power = direction_bound(
        direction_information(*arguments(sensing_scene(**OFF_AXIS), power=60.0))
    )
    time = direction_bound(
        direction_information(*arguments(sensing_scene(symbols=700.0, **OFF_AXIS)))
    )
    np.testing.assert_allclose(base.crb / power.crb, 3.0, rtol=1e-10)
    np.testing.assert_allclose(base.crb / time.crb, 7.0, rtol=1e-10)


def test_turning_the_whole_scene_changes_nothing():
    turn = Rotation.from_euler("xyz", [0.4, -1.1, 2.0]).as_matrix()

    def bounds(scene):
        rng = np.random.default_rng(0)
        covariance = tuple(random_covariance(rng, 16, 3)[None] for _ in range(2))
        directions = scene_information(scene, covariance, random_reflections(scene))
        position, _ = position_bound(scene, directions)
        return np.array([*(direction_bound(d).crb for d in directions), position])

    straight, turned = (bounds(sensing_scene(turn=t, **OFF_AXIS)) for t in (np.eye(3), turn))
    np.testing.assert_allclose(straight, turned, rtol=1e-8)
    assert np.all(np.isfinite(straight))


def test_position_bound_equals_the_differentiated_angles():
    scene = sensing_scene(**OFF_AXIS)
    covariance = tuple(arguments(scene, i)[2] for i in range(2))
    directions = scene_information(scene, covariance, random_reflections(scene))
    information, step = np.zeros((3, 3)), 1e-5
    for i, direction in enumerate(directions):
        slope = np.stack(
            [
                (
                    scene.angles(scene.target.position + d)[i]
                    - scene.angles(scene.target.position - d)[i]
                )
                / (2 * step)
                for d in step * jnp.eye(3)
            ],
            axis=1,
        )
        information += slope.T @ np.asarray(direction.information) @ slope
    bound, found = position_bound(scene, directions)
    np.testing.assert_allclose(bound, np.sqrt(np.trace(np.linalg.inv(information))), rtol=1e-6)
    assert found.rank == 3


def test_one_surface_cannot_tell_the_distance():
    scene = sensing_scene(
        surfaces=((-5.0, 10.0, 0.0),), **{**OFF_AXIS, "rows": (3,), "columns": (5,)}
    )
    directions = scene_information(scene, (arguments(scene)[2],), random_reflections(scene))
    bound, found = position_bound(scene, directions)
    assert bound == jnp.inf
    assert found.rank == 2
    sight = np.asarray(scene.target.position - scene.surfaces[0].position)
    lost = np.asarray(found.directions)[np.asarray(found.lost)][0]
    np.testing.assert_allclose(abs(lost @ sight), np.linalg.norm(sight), rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ({"rows": (1, 1)}, ["elevation", "azimuth"]),  # broadside: only one combination is seen
        ({"rows": (1, 1), "target": (5.0, 15.0, 0.0)}, ["elevation"]),  # cos(elevation) is 0
        ({"columns": (1, 1)}, ["azimuth"]),
        ({"antennas": 1}, ["elevation", "azimuth"]),
        ({"target": (-5.0, 10.0, 9.0)}, ["azimuth"]),  # straight above the first surface
        ({"target": (-5.0, 18.0, 3.0)}, ["azimuth"]),  # in the panel's plane
        ({"rician_factor": jnp.inf}, ["elevation", "azimuth"]),  # a channel of rank one
    ],
)
def test_lost_angles_are_named(change, lost):
    scene = sensing_scene(**{**OFF_AXIS, **change})
    args = arguments(scene)
    for information in (direction_information, direction_information_by_definition):
        bound = direction_bound(information(*args))
        assert bound.lost_names() == lost
        assert bound.crb == jnp.inf


def test_two_patterns_identify_both_angles_through_a_rank_one_channel():
    scene = sensing_scene(rician_factor=jnp.inf, **OFF_AXIS)
    bound = direction_bound(direction_information(*arguments(scene, patterns=2)))
    assert bound.lost_names() == []
    assert jnp.isfinite(bound.crb)


def test_given_precision_replaces_that_of_the_reflection():
    scene = sensing_scene(amplification=128.0, **OFF_AXIS)
    args = arguments(scene)
    link, reflection = args[:2]
    other = noise_covariance(link, 0 * reflection[0])
    frozen = direction_bound(
        direction_information(*args, precision=jnp.linalg.inv(other)[None])
    ).crb
    exact = direction_bound(direction_information(*args)).crb
    own_only = type(link)(
        link.array, link.bs_to_irs, 0 * link.surface_noise, link.noise, link.symbols
    )
    np.testing.assert_allclose(
        frozen, direction_bound(direction_information(own_only, *args[1:])).crb, rtol=1e-12
    )
    assert exact > 1.05 * frozen  # the surface's own noise counts at a_max = 128


def test_bounds_batch_over_directions():
    link, reflection, covariance, angles, gain = arguments(sensing_scene(**OFF_AXIS))
    many = angles[None, :] + 0.01 * jnp.arange(4.0)[:, None]

    def crb(at):
        return direction_bound(direction_information(link, reflection, covariance, at, gain)).crb

    np.testing.assert_allclose(jax.vmap(crb)(many), [crb(x) for x in many], rtol=1e-10)
