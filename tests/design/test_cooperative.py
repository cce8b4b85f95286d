import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.optimize import minimize

from heliostat.bounds.direction import direction_bound
from heliostat.channel.path_loss import radar_equation
from heliostat.design.baselines import (
    isotropic_covariance,
    matched_beams,
    reflective_only,
    transmit_only,
    with_passive_surfaces,
)
from heliostat.design.cooperative import (
    design_alternately,
    design_beamforming,
    design_for_region,
    design_jointly,
)
from heliostat.design.cooperative_bound import (
    Majorant,
    cooperative_lower_bound,
    least_crb,
    panels_of,
    singular_value_majorants,
    smallest_ratio,
    transmit_limit_majorant,
)
from heliostat.design.feasibility import dwell_design
from heliostat.design.joint import joint_layout, joint_objective, joint_tasks, random_unknowns
from heliostat.design.reflect import design_reflection
from heliostat.design.result import surface_bounds
from heliostat.scenario import load
from tests.support.direction_definition import direction_information_by_definition
from tests.support.sensing_scenes import random_covariance, random_reflections, sensing_scene

SMALL = {"rows": (2, 2), "columns": (3, 3), "antennas": 4}
QUIET = {"min_snr": 0.0, "starts": 2}


def worst_by_definition(scene, design):
    return max(
        float(
            direction_bound(
                direction_information_by_definition(
                    scene.link(i),
                    jnp.atleast_2d(psi),
                    covar.reshape(-1, *covar.shape[-2:]),
                    scene.angles()[i],
                    scene.target_gain[i],
                )
            ).crb
        )
        for i, (psi, covar) in enumerate(zip(design.reflection, design.covariance, strict=True))
    )


def assert_feasible(scene, design, min_snr=0.0):
    assert design.slack.transmit >= -1e-9 * scene.base_station.power
    for i, surface in enumerate(scene.surfaces):
        assert design.slack.surface[i] >= -1e-9 * surface.power
        assert design.slack.amplitude[i] >= -1e-9 * surface.amplification
        assert design.snr[i] >= min_snr * (1 - 1e-6)
    eigenvalues = np.linalg.eigvalsh(np.asarray(design.covariance))
    assert eigenvalues.min() >= -1e-12 * eigenvalues.max()


@pytest.mark.parametrize("passive", [False, True])
def test_gradient_equals_finite_differences(passive):
    scene = sensing_scene(**SMALL, surface_power=1e-3)
    if passive:
        scene = with_passive_surfaces(scene)
    task = joint_tasks((scene,), jnp.asarray(1e9))[0]
    layout = joint_layout(task, 2, mean=False)
    rng = np.random.default_rng(1)
    flat = jnp.asarray(random_unknowns(layout, rng))
    direction = jnp.asarray(rng.normal(size=flat.shape))

    @jax.jit
    def value(step):
        at = flat + step * direction
        return joint_objective(task, at, jnp.asarray(20.0), jnp.asarray(30.0), layout)

    differences = (value(1e-5) - value(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(value)(0.0), differences, rtol=1e-6)


@pytest.mark.parametrize("patterns", [1, 2])
def test_design_is_what_it_says(patterns):
    scene = sensing_scene(**SMALL)
    design = design_jointly(scene, patterns=patterns, **QUIET)
    assert_feasible(scene, design)
    np.testing.assert_allclose(design.worst_crb, worst_by_definition(scene, design), rtol=1e-7)
    history = np.asarray(design.history)
    assert np.all(np.diff(history) <= 0)
    np.testing.assert_allclose(history[-1], design.worst_crb, rtol=1e-8)
    assert 0 <= design.gap < 1


def test_minimum_snr_is_kept():
    scene = sensing_scene(**SMALL, surface_power=1e-2)
    free = design_jointly(scene, **QUIET)
    asked = 1.5 * float(jnp.min(free.snr))
    heard = design_jointly(scene, min_snr=asked, starts=2)
    assert_feasible(scene, heard, asked)


def test_a_second_pattern_is_no_loss():
    scene = sensing_scene(**SMALL)
    one, two = (design_jointly(scene, patterns=k, **QUIET) for k in (1, 2))
    assert two.worst_crb <= one.worst_crb * 1.01


def test_rank_one_channels_need_two_patterns():
    scene = sensing_scene(**SMALL, rician_factor=1e12)
    two = design_jointly(scene, patterns=2, **QUIET)
    assert np.isfinite(float(two.worst_crb))
    with pytest.raises(ValueError, match="cannot both be estimated"):
        design_jointly(scene, **QUIET)


def test_an_snr_out_of_reach_is_named():
    with pytest.raises(ValueError, match="SNR of 300 dB"):
        design_jointly(sensing_scene(**SMALL), min_snr=1e30, starts=1)


def test_joint_is_no_worse_than_alternating():
    scene = sensing_scene(**SMALL)
    joint = design_jointly(scene, min_snr=0.0)
    turns = design_alternately(scene, min_snr=0.0)
    assert_feasible(scene, turns)
    assert np.all(np.diff(np.asarray(turns.history)) <= 0)
    assert joint.worst_crb <= turns.worst_crb * 1.03


def test_passive_elements_keep_modulus_one():
    scene = with_passive_surfaces(sensing_scene(**SMALL))
    design = design_jointly(scene, **QUIET)
    for psi in design.reflection:
        np.testing.assert_allclose(jnp.abs(psi), 1.0, rtol=1e-12)
    assert design.lower_bound <= design.worst_crb


def decibel(ratio):
    return 10 * np.log10(float(ratio))


def loss_of_passive_designs(seed, patterns=1, starts=8, **sizes):
    """Losses against surfaces that may also attenuate, descended in another parametrization. [dB]

    Without noise and a power limit amplitudes below 1 are not worth anything, so that the active
    optimum is the passive one. Returned for the joint and for the reflective design.
    """
    free = {"amplification": 1.0, "surface_power": 1e6, "surface_noise": 1e-20}
    active = sensing_scene(seed=seed, **sizes, **free)
    passive = with_passive_surfaces(active)
    joint, reference = (
        design_jointly(scene, patterns=patterns, min_snr=0.0, starts=n).worst_crb
        for scene, n in ((passive, starts), (active, 2 * starts))
    )
    given = jnp.stack([isotropic_covariance(active)] * patterns, axis=1)
    reflective, kept = (
        design_reflection(scene, given, min_snr=0.0, starts=n).worst_crb
        for scene, n in ((passive, 6), (active, 12))
    )
    return decibel(joint / reference), decibel(reflective / kept)


@pytest.mark.parametrize("seed", [0, 1])
def test_passive_designs_reach_the_optimum(seed):
    assert max(loss_of_passive_designs(seed, **SMALL)) <= 0.1


def test_certificate_leaves_a_passive_design_little_room():
    scene = with_passive_surfaces(sensing_scene(seed=1, **SMALL))
    design = design_jointly(scene, min_snr=0.0)
    assert decibel(design.worst_crb / design.lower_bound) <= 0.2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_passive_designs_reach_the_optimum_in_fifty_scenes(seed):
    side = (2, 3, 4, 5, 6)[seed % 5]
    losses = loss_of_passive_designs(
        seed,
        patterns=2 if seed % 4 == 3 else 1,
        antennas=8,
        rows=(side, side),
        columns=(side, side),
        rician_factor=float(10 ** np.random.default_rng(seed).uniform(-0.5, 1.5)),
    )
    assert max(losses) <= 0.1


@pytest.mark.parametrize("power", [1e-2, 1e-4])
def test_surface_noise_may_take_most_of_the_power(power):
    # Elements that add more noise than they receive signal: at any common gain of the elements,
    # with the covariance as large as the powers then allow, the CRB is no better.
    scene = sensing_scene(**SMALL, power=power, surface_noise=1e-7, surface_power=1e-5)
    design = design_jointly(scene, **QUIET)
    assert_feasible(scene, design)
    for i, surface in enumerate(scene.surfaces):
        psi, covariance = design.reflection[i], design.covariance[i]
        crbs = []
        for gain in np.linspace(0.5, 2.0, 61):
            weighted = gain * np.asarray(psi)[:, None] * np.asarray(scene.bs_to_irs[i])
            noise = 2 * surface.noise * np.sum(np.abs(gain * np.asarray(psi)) ** 2)
            signal = np.trace(weighted @ np.asarray(covariance) @ weighted.conj().T).real
            # The echo's own part of the power is negligible: |beta|^2 is below 1e-9.
            room = min(1.0, float((surface.power - noise) / signal))
            if room <= 0 or gain * np.max(np.abs(psi)) > surface.amplification:
                continue
            information = direction_information_by_definition(
                scene.link(i),
                gain * psi[None],
                room * covariance[None],
                scene.angles()[i],
                scene.target_gain[i],
            )
            crbs.append(float(direction_bound(information).crb))
        assert decibel(design.crb[i] / min(crbs)) <= 0.05


def losses_by_seed(scene, seeds, **dwell):
    """Loss of the default design of each seed against the best of them and of 40 starts. [dB]"""
    crbs = [design_jointly(scene, seed=seed, **dwell).worst_crb for seed in range(seeds)]
    best = min([*crbs, design_jointly(scene, seed=seeds, starts=40, **dwell).worst_crb])
    return np.array([decibel(crb / best) for crb in crbs])


def test_default_design_hardly_depends_on_the_seed():
    assert np.max(losses_by_seed(sensing_scene(**SMALL), 3, min_snr=0.0)) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["sensing-two-surfaces", "drone-corridor", "indoor-three-surfaces"]
)
def test_default_designs_of_shipped_scenarios_hardly_depend_on_the_seed(name):
    scenario = load(name)
    dwell = {"patterns": scenario.dwell.patterns, "min_snr": scenario.dwell.required_snr}
    losses = losses_by_seed(scenario.build(), 10, **dwell)
    assert np.sum(losses <= 0.05) >= 9, losses


def test_crb_falls_as_the_inverse_power_where_surfaces_are_not_limited():
    plenty = {**SMALL, "surface_power": 1e6}
    weak, strong = (design_jointly(sensing_scene(**plenty, power=p), **QUIET) for p in (1.0, 10.0))
    np.testing.assert_allclose(weak.worst_crb / strong.worst_crb, 10.0, rtol=1e-3)


def test_lower_bound_is_below_all_designs():
    scene = sensing_scene(**SMALL)
    bound = cooperative_lower_bound(scene)
    designs = [
        design_jointly(scene, min_snr=0.0),
        transmit_only(scene),
        reflective_only(scene),
        matched_beams(scene),
    ]
    for design in designs:
        assert_feasible(scene, design)
        assert bound <= design.worst_crb
    best = designs[0].worst_crb
    assert all(best <= design.worst_crb for design in designs[1:])


def test_two_antennas_have_a_lower_bound_at_every_price():
    """Two singular values instead of three; every warning is an error in these tests."""
    scene = sensing_scene(**{**SMALL, "antennas": 2})
    covariance = isotropic_covariance(scene)[:, None] / 1e3
    psi = random_reflections(scene)
    crb = float(jnp.max(surface_bounds(scene, psi, covariance).crb))
    for patterns in (1, 2):
        for majorant in singular_value_majorants(panels_of(scene)[0], patterns):
            assert np.all(np.isfinite(majorant))
        assert 0 < cooperative_lower_bound(scene, patterns) < crb


def test_lower_bound_above_the_crb_of_a_design_is_an_error_with_both_numbers():
    scene = sensing_scene(**SMALL)
    covariance = isotropic_covariance(scene)[:, None] / 1e3
    psi = random_reflections(scene)
    crb = float(jnp.max(surface_bounds(scene, psi, covariance).crb))
    kept = dwell_design(scene, covariance, psi, lower_bound=crb * (1 + 1e-10), min_snr=0.0)
    assert kept.lower_bound == crb * (1 + 1e-10)
    assert -1.1e-10 < kept.gap < 0
    with pytest.raises(RuntimeError, match=f"{2 * crb:.12g} .* {crb:.12g} "):
        dwell_design(scene, covariance, psi, lower_bound=2 * crb, min_snr=0.0)


@pytest.mark.parametrize(("first", "second"), [(1.0, 0.02), (1.0, 0.4), (1.0, 0.9), (2.0, 0.0)])
def test_no_weight_has_a_smaller_ratio_and_a_search_attains_it(first, second):
    """Against literal matrices: random weights, and a minimization over all weights."""
    spread = np.array([[3.0, 0.8], [0.8, 1.5]])
    closed = smallest_ratio(first, second, spread)

    def ratio(unknown):
        factor = np.array([[np.exp(unknown[0]), 0.0], [unknown[1], np.exp(-unknown[0])]])
        weight = factor @ factor.T
        root = sqrtm(weight)
        small, large = np.linalg.eigvalsh(root @ spread @ root)
        return (first * large + second * small) / np.trace(root) ** 2

    rng = np.random.default_rng(0)
    assert min(ratio(rng.normal(size=2)) for _ in range(500)) >= closed * (1 - 1e-12)
    found = minimize(ratio, np.zeros(2), method="Nelder-Mead", options={"fatol": 1e-10})
    assert found.fun == pytest.approx(closed, rel=1e-4)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 10_000),
    amplification=st.floats(1.0, 200.0),
    surface_power=st.floats(1e-7, 1e3),
    share=st.floats(0.05, 0.95),
)
def test_no_random_design_beats_a_majorant(seed, amplification, surface_power, share):
    scene = sensing_scene(
        **SMALL, seed=seed, amplification=amplification, surface_power=surface_power
    )
    rng = np.random.default_rng(seed)
    panel = panels_of(scene)[0]
    majorants = [*singular_value_majorants(panel, 1), transmit_limit_majorant(panel)]
    psi = random_reflections(scene, seed)[0][0] * jnp.asarray(rng.uniform(share, 1, size=6))
    power = float(10 ** rng.uniform(-3, 2))
    covariance = random_covariance(rng, 4, rng.integers(1, 4), power)
    radiated = np.sum(
        np.abs(psi) ** 2
        * np.real(np.diag(scene.bs_to_irs[0] @ covariance @ scene.bs_to_irs[0].conj().T))
    )
    covariance = covariance * min(1.0, surface_power / float(radiated))
    crb = direction_bound(
        direction_information_by_definition(
            scene.link(0), psi[None], covariance[None], scene.angles()[0], scene.target_gain[0]
        )
    ).crb
    spent = float(jnp.real(jnp.trace(covariance)))
    for m in majorants:
        assert 1 / float(crb) <= (m.slope * spent + m.rest) * (1 + 1e-9)


def test_split_of_the_power_on_paper():
    # CRBs 1/(2p) and 1/p: twice the power for the second surface, 3 W give 1/2 each; with a
    # limit of 1 on 1/CRB of the first, that is what counts.
    one, two = [Majorant(2.0, 0.0)], [Majorant(1.0, 0.0)]
    np.testing.assert_allclose(least_crb([one, two], 3.0), 0.5, rtol=1e-6)
    capped = [Majorant(2.0, 0.0), Majorant(0.0, 1.0)]
    np.testing.assert_allclose(least_crb([capped, two], 3.0), 1.0, rtol=1e-6)
    np.testing.assert_allclose(least_crb([one], 3.0), 1 / 6, rtol=1e-6)


def test_single_surface_gets_all_the_power():
    scene = sensing_scene(
        rows=(2,), columns=(3,), antennas=4, surfaces=((-5.0, 10.0, 0.0),), surface_power=1e6
    )
    design = design_jointly(scene, **QUIET)
    np.testing.assert_allclose(
        jnp.real(jnp.trace(design.covariance[0])), scene.base_station.power, rtol=1e-6
    )


@settings(max_examples=5)
@given(
    seed=st.integers(0, 1000),
    surface_power=st.floats(1e-5, 10.0),
    amplification=st.floats(1.0, 64.0),
)
def test_constraints_hold_in_random_scenes(seed, surface_power, amplification):
    scene = sensing_scene(
        **SMALL, seed=seed, surface_power=surface_power, amplification=amplification
    )
    design = design_jointly(scene, min_snr=0.0, starts=1)
    assert_feasible(scene, design)
    assert design.lower_bound <= design.worst_crb


def moved(scene, position):
    position = jnp.asarray(position)
    gain = jnp.stack(
        [
            radar_equation(
                jnp.linalg.norm(position - s.position), jnp.asarray(1e-3), jnp.asarray(1.0)
            )
            + 0j
            for s in scene.surfaces
        ]
    )
    return scene.with_target(position, gain)


@pytest.mark.parametrize("criterion", ["worst", "mean"])
def test_region_is_served_better_by_its_own_design(criterion):
    scene = sensing_scene(**SMALL)
    scenes = [moved(scene, p) for p in ([5.0, 15.0, 0.0], [8.0, 12.0, 2.0])]
    region = design_for_region(scenes, criterion=criterion, **QUIET)
    for at, design in zip(scenes, region.designs, strict=True):
        assert_feasible(at, design)
    assert 0 <= region.gap < 1
    value = region.worst_crb if criterion == "worst" else region.mean_crb
    point = design_jointly(scenes[0], **QUIET)
    there = [worst_by_definition(at, point) for at in scenes]
    assert value <= (max(there) if criterion == "worst" else np.mean(there)) * 1.01


def test_the_papers_algorithm_has_one_pattern():
    with pytest.raises(ValueError, match="1 pattern, not 2"):
        design_beamforming(sensing_scene(**SMALL), method="sdr", patterns=2, min_snr=0.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
def test_direct_beats_the_papers_algorithm_and_is_proven():
    gains, gaps = [], []
    for seed in range(10):
        scene = sensing_scene(seed=seed)
        direct = design_beamforming(scene, min_snr=0.0)
        paper = design_beamforming(scene, method="sdr", min_snr=0.0)
        gains.append(10 * np.log10(float(paper.worst_crb / direct.worst_crb)))
        gaps.append(float(direct.gap))
    assert np.median(gains) >= 1.0
    assert np.max(gaps) < 0.5


@pytest.mark.slow
def test_a_surface_of_1024_elements():
    scene = sensing_scene(rows=(32, 32), columns=(32, 32))
    design = design_beamforming(scene, min_snr=0.0)
    assert_feasible(scene, design)
    assert design.worst_crb < transmit_only(scene).worst_crb


@pytest.mark.parametrize(("share", "most"), [(0.0, 1), (0.7, 2)])
def test_a_design_reports_its_progress_and_stops_when_that_raises(share, most):
    scene, calls = sensing_scene(**SMALL), []

    class StopError(Exception):
        pass

    def note(done, total):
        calls.append((done, total))
        if len(calls) == stop:
            raise StopError

    stop = None
    options = {"starts": 2, "on_progress": note}
    least = share * float(jnp.min(design_jointly(scene, **QUIET).snr)) if share else 0.0
    design_jointly(scene, min_snr=least, **options)
    done, totals = zip(*calls, strict=True)
    assert list(done) == sorted(set(done))
    assert all(d < total for d, total in calls)
    assert len(set(totals)) <= most
    calls.clear()
    stop = 3
    with pytest.raises(StopError):
        design_jointly(scene, min_snr=least, **options)
    assert len(calls) == stop
