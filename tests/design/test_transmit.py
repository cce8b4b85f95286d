"""Truths: a semidefinite program by another solver, optimality conditions on dense matrices,
a case on paper, and scaling laws."""

import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from heliostat.bounds.direction import echo_derivatives, echo_matrices
from heliostat.design import transmit, transmit_sdp
from heliostat.design.certificate import linear_information, transmit_lower_bound
from heliostat.design.result import surface_bounds
from heliostat.design.transmit import design_transmit, largest_snr, solve_transmit
from heliostat.design.transmit_sdp import design_transmit_sdp
from heliostat.observation.echoes import target_steering
from heliostat.surface.active import passive_surface, power_weight, reflected_power
from tests.support.sensing_scenes import random_reflections, real, sensing_scene

OFF_AXIS = {"target": (5.0, 15.0, 3.0)}


def design(min_snr=0.0, seed=1, **changes):
    scene = sensing_scene(**{**OFF_AXIS, **changes})
    psi = tuple(p[0] for p in random_reflections(scene, seed))
    return scene, psi, design_transmit(scene, psi, min_snr=min_snr)


def assert_feasible(scene, psi, answer, min_snr=0.0):
    """Every constraint, from the covariances alone."""
    r = np.asarray(answer.covariance)
    budget = scene.n_surfaces * float(scene.base_station.power)
    assert np.trace(r.sum(0)).real <= budget
    for i, surface in enumerate(scene.surfaces):
        values = np.linalg.eigvalsh(r[i])
        assert values[0] > -1e-12 * values[-1]
        steering = target_steering(surface.array, scene.angles()[i])
        power = reflected_power(
            psi[i],
            scene.bs_to_irs[i],
            answer.covariance[i],
            steering,
            scene.target_gain[i],
            surface.noise,
        )
        assert power.total <= surface.power * (1 + 1e-12)
    assert np.all(np.asarray(answer.snr) >= min_snr * (1 - 1e-6))


@pytest.mark.parametrize("surface_power", [1e-3, 1e-2, 3e-2, 10.0])
@pytest.mark.parametrize("target", [(5.0, 15.0, 0.0), (5.0, 15.0, 3.0)])
def test_design_is_feasible_and_certified(surface_power, target):
    scene, psi, answer = design(surface_power=surface_power, target=target)
    assert answer.status == "optimal"
    assert abs(answer.gap) < 1e-6
    assert_feasible(scene, psi, answer)
    assert answer.lower_bound <= answer.worst_crb
    active = surface_power < 1
    assert bool(jnp.any(answer.slack.surface < 1e-6 * surface_power)) == active


@pytest.mark.slow
@pytest.mark.parametrize(("antennas", "cases"), [(8, 42), (16, 8)])
def test_optimum_is_that_of_the_semidefinite_program(antennas, cases):
    rng = np.random.default_rng(antennas)
    gaps = []
    for case in range(cases):
        # From far below to far above the knee, on both sides of the switches of rank.
        surface_power = 10 ** rng.uniform(-3, 0.5)
        scene, psi, fast = design(
            antennas=antennas, surface_power=surface_power, seed=case,
            target=(rng.uniform(2, 8), rng.uniform(10, 20), rng.uniform(-4, 4)),
        )  # fmt: skip
        assert fast.status == "optimal"
        assert_feasible(scene, psi, fast)
        slow = design_transmit_sdp(scene, psi, min_snr=0.0)
        assert_feasible(scene, psi, slow)
        # Two optima and two proofs, found apart from each other.
        np.testing.assert_allclose(fast.worst_crb, slow.worst_crb, rtol=1e-6)
        assert fast.worst_crb >= slow.lower_bound * (1 - 1e-9)
        assert slow.worst_crb >= fast.lower_bound * (1 - 1e-9)
        gaps.append(float(slow.gap))
    # Where a surface's power alone limits, the rounding of Clarabel's multipliers may cost its
    # own proof some digits; its optimum above has them all the same.
    assert np.median(gaps) < 1e-6
    assert np.mean(np.array(gaps) < 1e-4) >= 0.9


def test_no_covariance_beats_the_lower_bound_whatever_its_prices():
    scene, psi, answer = design(surface_power=1e-2)
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(2, 4, 4))
    slopes = jnp.asarray(factor @ factor.transpose(0, 2, 1))
    prices = jnp.asarray(rng.uniform(size=3))
    nothing = jnp.zeros(2)
    loose = transmit_lower_bound(
        scene, psi, slopes, prices[0], prices[1:] * 1e3, nothing, jnp.zeros(())
    )
    assert 0 < loose < answer.lower_bound
    for rank in (1, 2, 4, 16):
        drawn = []
        for i in range(2):
            # Within the row space of what reaches the target: random ones would be far off.
            ways = np.asarray(echo_derivatives(scene.link(i), psi[i], scene.angles()[i]))
            mix = ways.conj().T @ (rng.normal(size=(3, rank)) + 1j * rng.normal(size=(3, rank)))
            covariance = jnp.asarray(mix @ mix.conj().T)
            covariance = covariance / jnp.real(jnp.trace(covariance)) * scene.base_station.power
            steering = target_steering(scene.surfaces[i].array, scene.angles()[i])
            power = reflected_power(
                psi[i], scene.bs_to_irs[i], covariance, steering, scene.target_gain[i],
                scene.surfaces[i].noise,
            )  # fmt: skip
            room = (scene.surfaces[i].power - power.own_noise) / (power.echo + power.signal)
            drawn.append(covariance * jnp.minimum(1.0, room))
        crb = surface_bounds(scene, tuple(p[None] for p in psi), jnp.stack(drawn)[:, None]).crb
        assert np.max(crb) > answer.lower_bound


def test_optimality_conditions_with_256_antennas():
    """Lagrangian stationarity on dense matrices: no direction of R_l pays more than it costs."""
    scene, psi, answer = design(antennas=256, surface_power=1e-2)
    assert answer.status == "optimal"
    assert_feasible(scene, psi, answer)
    # Only a surface that sets the worst CRB has a price; there is one here.
    for i in np.flatnonzero(answer.crb > (1 - 1e-6) * answer.worst_crb).tolist():
        link, angles, gain = scene.link(i), scene.angles()[i], scene.target_gain[i]
        r = np.asarray(answer.covariance[i])
        received, transmitted = echo_matrices(link, psi[i], answer.covariance[i], angles)
        strength = 2 * link.symbols * jnp.abs(gain) ** 2
        linear = np.asarray(linear_information(received, strength))
        f = np.real(np.einsum("pqdf,fd->pq", linear, transmitted))
        inverse = np.linalg.inv(f)
        size = np.diag([1, 1, abs(gain) ** 2, abs(gain) ** 2])
        np.testing.assert_allclose(np.trace(inverse @ size), answer.crb[i], rtol=1e-8)
        ways = np.asarray(echo_derivatives(link, psi[i], angles))
        reduced = np.einsum("pq,pqdf->df", inverse @ size @ inverse, linear)
        gradient = ways.conj().T @ ((reduced + reduced.conj().T) / 2) @ ways
        weight = np.asarray(
            power_weight(psi[i], scene.bs_to_irs[i], target_steering(link.array, angles), gain)
        )
        # gradient = mu + nu Q on the range of R, and at most that elsewhere.
        values, vectors = np.linalg.eigh(r)
        used = vectors[:, values > 1e-5 * values[-1]]
        columns = np.stack([used.ravel(), (weight @ used).ravel()], axis=1)
        scale = np.linalg.norm(columns, axis=0)
        prices, *_ = np.linalg.lstsq(columns / scale, (gradient @ used).ravel(), rcond=None)
        mu, nu = np.real(prices / scale)
        left = gradient - mu * np.eye(256) - nu * weight
        top = np.linalg.eigvalsh(gradient)[-1]
        assert np.linalg.norm(left @ used) < 2e-3 * top
        assert np.linalg.eigvalsh((left + left.conj().T) / 2)[-1] < 2e-3 * top
        assert mu > -1e-6 * top
        assert nu > -1e-6 * np.linalg.norm(gradient) / np.linalg.norm(weight)


def test_matched_beam_where_only_the_base_station_limits():
    """On paper: white noise and no limit on the surface, R = P v* v^T / |v|²."""
    scene, psi, _ = design()
    passive = tuple(passive_surface(s.position, s.array) for s in scene.surfaces[:1])
    scene = type(scene)(
        scene.base_station, passive, scene.target, scene.bs_to_irs[:1], scene.target_gain[:1],
        scene.noise, scene.symbols,
    )  # fmt: skip
    unit = (psi[0] / jnp.abs(psi[0]),)
    answer = design_transmit(scene, unit, min_snr=0.0)
    v = np.asarray(echo_derivatives(scene.link(0), unit[0], scene.angles()[0])[0])
    matched = 20.0 * np.outer(v.conj(), v) / np.linalg.norm(v) ** 2
    assert answer.status == "optimal"
    share = np.real(v @ np.asarray(answer.covariance[0]) @ v.conj()) / np.linalg.norm(v) ** 2
    np.testing.assert_allclose(share, 20.0, rtol=1e-4)
    assert np.linalg.norm(answer.covariance[0] - matched) < 0.02 * np.linalg.norm(matched)


def test_crb_falls_with_power_and_time_where_surfaces_do_not_limit():
    base, power, time = (
        design(surface_power=1e4, **c)[2].worst_crb
        for c in ({}, {"power": 60.0}, {"symbols": 500.0})
    )
    np.testing.assert_allclose(base / power, 3.0, rtol=1e-6)
    np.testing.assert_allclose(base / time, 5.0, rtol=1e-6)


def test_turning_the_whole_scene_changes_nothing():
    turn = Rotation.from_euler("xyz", [0.4, -1.1, 2.0]).as_matrix()
    straight, turned = (design(surface_power=1e-2, turn=t)[2] for t in (np.eye(3), turn))
    np.testing.assert_allclose(straight.worst_crb, turned.worst_crb, rtol=1e-6)


def test_minimum_snr_is_kept_and_costs_little():
    _, _, free = design(surface_power=3e-2, seed=0)
    scene, psi, answer = design(min_snr=50.0, surface_power=3e-2, seed=0)
    assert np.min(free.snr) < 1  # the paper's own criterion leaves the target in the dark
    assert answer.status == "optimal"
    assert_feasible(scene, psi, answer, 50.0)
    assert free.worst_crb <= answer.worst_crb < 2 * free.worst_crb


def limited_scene(powers, seed=1, **changes):
    """A scene whose surfaces have these powers, and reflections of random amplitudes."""
    scene = sensing_scene(**{**OFF_AXIS, "seed": seed, **changes})
    rng = np.random.default_rng(seed)
    scene = eqx.tree_at(
        lambda s: [x.power for x in s.surfaces], scene, [real(power) for power in powers]
    )
    return scene, tuple(
        jnp.asarray(rng.uniform(0.5, 1, len(p[0]))) * p[0] for p in random_reflections(scene, seed)
    )


def largest_snr_by_duality(scene, psi):
    """Least upper bound on the SNR of the weakest echo, by weak duality on dense matrices.

    For prices mu, nu_l of a watt, R_l costs tr(W_l R_l), W_l = mu I + nu_l Q_l, so a watt at the
    target costs at least 1/(v^T W_l^-1 v*), whatever R_l is.
    """
    surfaces, budget = [], scene.n_surfaces * float(scene.base_station.power)
    for i, surface in enumerate(scene.surfaces):
        link, angles, gain = scene.link(i), scene.angles()[i], scene.target_gain[i]
        dark = jnp.zeros((link.bs_to_irs.shape[1],) * 2, dtype=complex)
        received, _ = echo_matrices(link, psi[i], dark, angles)
        v = np.asarray(echo_derivatives(link, psi[i], angles)[0])
        per_watt = float(link.symbols * jnp.abs(gain) ** 2 * jnp.real(received[0, 0]))
        steering = target_steering(link.array, angles)
        own = reflected_power(psi[i], link.bs_to_irs, dark, steering, gain, surface.noise).own_noise
        weight = np.asarray(power_weight(psi[i], link.bs_to_irs, steering, gain))
        surfaces.append((v, per_watt, weight, float(surface.power - own)))

    def bound(log_prices):
        """Of the surfaces, relative to that of the base station, per whole limit."""
        total, cost = 1.0, 0.0
        for (v, per_watt, weight, limit), price in zip(surfaces, np.exp(log_prices), strict=True):
            priced = np.eye(len(v)) / budget
            if np.isfinite(limit):
                priced, total = priced + price * weight / limit, total + price
            cost += 1 / per_watt / np.real(v @ np.linalg.solve(priced, v.conj()))
        return total / cost

    starts = [(x, y) for x in (-9.0, 0.0, 9.0) for y in (-9.0, 0.0, 9.0)]
    options = {"xatol": 1e-9, "fatol": 1e-12}
    box = [(-30.0, 25.0)] * 2
    return min(
        minimize(bound, x, method="Nelder-Mead", bounds=box, options=options).fun for x in starts
    )


POWERS = [(1.0, 1.0), (1e-2, 1.0), (1e-2, 1e-2), (np.inf, 1e-2), (np.inf, np.inf)]


@pytest.mark.parametrize("powers", POWERS)
def test_every_minimum_snr_below_the_largest_is_designed_for(powers):
    scene, psi = limited_scene(powers)
    reachable = largest_snr(scene, psi)
    np.testing.assert_allclose(reachable, largest_snr_by_duality(scene, psi), rtol=1e-6)
    worst = 0.0
    for share in (0.2, 0.9, 0.999, 1 - 1e-9):
        answer = design_transmit(scene, psi, min_snr=share * reachable)
        assert answer.status == "optimal"
        assert_feasible(scene, psi, answer, share * reachable)
        assert answer.lower_bound <= answer.worst_crb
        assert answer.worst_crb >= worst * (1 - 1e-6)  # demanding more never helps
        worst = answer.worst_crb
    asked = reachable * (1 + 1e-6)
    with pytest.raises(ValueError, match="cannot be reached") as refused:
        design_transmit(scene, psi, min_snr=asked)
    above, most = (float(w) for w in str(refused.value).split() if w[0].isdigit())
    assert most < above
    np.testing.assert_allclose([above, most], [asked, reachable], rtol=1e-7)


def test_minimum_snr_that_binds_at_one_surface_agrees_with_the_semidefinite_program():
    scene, psi = limited_scene((1.0, 1.0))
    free = np.min(design_transmit(scene, psi, min_snr=0.0).snr)
    asked = float(free + largest_snr(scene, psi)) / 2
    fast = design_transmit(scene, psi, min_snr=asked)
    slow = design_transmit_sdp(scene, psi, min_snr=asked)
    # The interior-point solver itself may stop 1e-3 above the optimum, never below it.
    assert slow.worst_crb * (1 - 1e-3) <= fast.worst_crb <= slow.worst_crb * (1 + 1e-6)
    assert abs(fast.gap) < 1e-6
    np.testing.assert_allclose(np.min(fast.snr), asked, rtol=1e-5)
    assert np.max(fast.snr) > 1.1 * asked


@pytest.mark.slow
@pytest.mark.parametrize("case", range(40))
def test_designs_with_a_minimum_snr_agree_with_the_semidefinite_program(case):
    rng = np.random.default_rng(case)
    powers = [np.inf if rng.random() < 0.2 else 10 ** rng.uniform(-3, 1) for _ in range(2)]
    scene, psi = limited_scene(
        powers, seed=case, antennas=8,
        target=(rng.uniform(2, 8), rng.uniform(10, 20), rng.uniform(-4, 4)),
    )  # fmt: skip
    reachable = largest_snr(scene, psi)
    np.testing.assert_allclose(reachable, largest_snr_by_duality(scene, psi), rtol=1e-6)
    for share in (0.1, 0.5, 0.95):
        fast = design_transmit(scene, psi, min_snr=share * reachable)
        assert fast.status == "optimal"
        assert_feasible(scene, psi, fast, share * reachable)
        slow = design_transmit_sdp(scene, psi, min_snr=share * reachable)
        # The structured design is certified to 1e-6; the rest is the accuracy of Clarabel.
        assert slow.worst_crb * (1 - 1e-4) <= fast.worst_crb <= slow.worst_crb * (1 + 1e-6)
        assert fast.lower_bound <= min(fast.worst_crb, slow.worst_crb * (1 + 1e-6))
        assert slow.lower_bound <= fast.worst_crb


def test_largest_snr_is_zero_where_a_surface_reaches_nothing():
    scene, psi = limited_scene((1.0, 1.0))
    dark = (0 * psi[0], psi[1])
    assert largest_snr(scene, dark) == 0
    assert solve_transmit(scene, dark, real(0.0)).status == "not identifiable"
    refused = solve_transmit(scene, dark, real(1.0))
    assert refused.status == "infeasible"
    assert all(not np.any(np.isnan(leaf)) for leaf in jax.tree.leaves(refused))
    assert largest_snr(*limited_scene((1e-9, 1.0))) == 0  # its own noise exceeds its power


def test_lower_bound_above_the_crb_is_an_error_with_both_numbers(monkeypatch):
    scene, psi, answer = design(surface_power=1e-2)
    wrong = eqx.tree_at(lambda d: d.lower_bound, answer, answer.worst_crb * (1 + 1e-8))
    numbers = f"{float(wrong.lower_bound):.12g}.*{float(wrong.worst_crb):.12g}"
    monkeypatch.setattr(transmit, "solve_transmit", lambda *_: wrong)
    with pytest.raises(RuntimeError, match=numbers):
        design_transmit(scene, psi, min_snr=0.0)
    monkeypatch.setattr(transmit_sdp, "_certificate", lambda *_: 2 * answer.worst_crb)
    with pytest.raises(RuntimeError, match="exceeds the CRB"):
        design_transmit_sdp(scene, psi, min_snr=0.0)


def test_power_below_its_own_noise_is_refused_with_the_least_that_would_do():
    scene = sensing_scene(surface_power=1e-9, **OFF_AXIS)
    psi = tuple(p[0] for p in random_reflections(scene))
    steering = target_steering(scene.surfaces[0].array, scene.angles()[0])
    least = reflected_power(
        psi[0], scene.bs_to_irs[0], jnp.zeros((16, 16), dtype=complex), steering,
        scene.target_gain[0], scene.surfaces[0].noise,
    ).own_noise  # fmt: skip
    with pytest.raises(ValueError, match=f"{float(least):.6g}"):
        design_transmit(scene, psi, min_snr=0.0)
    with pytest.raises(ValueError, match="amplification"):
        design_transmit(sensing_scene(amplification=4.0), psi, min_snr=0.0)


def test_what_cannot_be_estimated_is_infinite_not_nan():
    scene, psi, answer = design(rows=(1, 4))
    assert answer.status == "not identifiable"
    assert jnp.isinf(answer.worst_crb)
    assert jnp.isinf(answer.gap)
    assert jnp.isinf(answer.excess_db)
    assert_feasible(scene, psi, answer)
    assert all(not np.any(np.isnan(leaf)) for leaf in jax.tree.leaves(answer))


def test_surfaces_of_different_size_and_three_of_them():
    scene, psi, answer = design(
        surfaces=((-5.0, 10.0, 1.0), (-5.0, 20.0, 0.0), (-4.0, 15.0, 4.0)),
        rows=(2, 4, 3), columns=(3, 4, 5), spacing=(0.4, 0.6), surface_power=1e-2,
    )  # fmt: skip
    assert answer.status == "optimal"
    assert_feasible(scene, psi, answer)


@pytest.mark.parametrize("antennas", [2, 3])
def test_few_antennas(antennas):
    scene, psi, answer = design(antennas=antennas, surface_power=1e-3)
    assert answer.status == "optimal"
    assert_feasible(scene, psi, answer)


VMAP = """
import equinox as eqx, heliostat, jax, jax.numpy as jnp, numpy as np
from heliostat.design.transmit import solve_transmit
from tests.support.sensing_scenes import random_reflections, real, sensing_scene
scenes = [sensing_scene(target=(5.0, 15.0, 3.0), surface_power=1e-2, seed=k) for k in range(4)]
psi = tuple(p[0] for p in random_reflections(scenes[0]))
stacked = jax.tree.map(lambda *g: jnp.stack(g), *[s.bs_to_irs for s in scenes])
def one(channels):
    scene = eqx.tree_at(lambda s: s.bs_to_irs, scenes[0], channels)
    return solve_transmit(scene, psi, jnp.zeros(()))
batch = jax.jit(jax.vmap(one))(stacked)
single = [solve_transmit(s, psi, jnp.zeros(())).worst_crb for s in scenes]
np.testing.assert_allclose(np.max(batch.crb, axis=1), single, rtol=1e-6)
assert np.all(batch.code == 0)
"""


@pytest.mark.slow
def test_draws_in_one_batch_equal_single_ones():
    """In a process of its own: on two cores XLA's thread pool may lock up over batched linear
    algebra; a larger pool does not."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "NPROC": "16", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", VMAP], check=True, env=environment, timeout=200)
