"""Truths: the pose that made the samples, the Cramér-Rao bound by definition, turned scenes."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter
from scipy.optimize import minimize

from heliostat.bounds.fisher import identify
from heliostat.bounds.pose import (
    alignment_response,
    error_bounds,
    pose_information,
    pose_information_by_definition,
)
from heliostat.estimation.matched_pilots import simulate_matched
from heliostat.estimation.place_search import place_grid
from heliostat.estimation.pose import estimate_pose, locate
from heliostat.observation.pilots import (
    band_bins,
    channel_params,
    pilot_mean,
    simulate_pilots,
    unknowns_at,
)
from tests.support.scenes import FOUR, localization_scene, real

FOCUS = (20.0, 40.0, 0.0)
BINS, ACTIVE = 16, 4
MODELS = {
    "gain known": {"gain_known": True},
    "gain unknown": {"gain_known": False, "sweep": FOUR},
    "clock unknown": {"gain_known": False, "clock_known": False, "sweep": FOUR},
}


def small(**changes):
    """A surface of 8 x 8, few antennas."""
    return localization_scene(
        **({"user_antennas": 8, "antennas": 8, "focus": FOCUS, "gain": 0.6 - 0.8j} | changes)
    )


def bins_of(scene):
    return band_bins(scene.link.bandwidth, BINS)


def clean(scene, clock=0.0):
    unknowns = unknowns_at(scene).at[5].set(clock)
    return pilot_mean(scene, channel_params(scene, unknowns), ACTIVE, bins_of(scene))


def hidden(scene):
    """What the receiver gets: the same scene with the user anywhere else, the gain unknown."""
    elsewhere = scene.with_user(jnp.array([3.0, 25.0, 0.0]), real(0.1))
    if scene.link.gain_known:
        return elsewhere
    return eqx.tree_at(lambda s: s.surface.gain, elsewhere, jnp.asarray(1.0, dtype=complex))


def apart(first, second):
    return abs((float(first) - second + np.pi) % (2 * np.pi) - np.pi)


@pytest.mark.parametrize("model", MODELS)
@given(x=st.floats(5, 35), y=st.floats(25, 55), heading=st.floats(-3, 3), clock=st.floats(-20, 20))
@settings(max_examples=12)
def test_samples_without_noise_give_the_pose_from_a_cold_start(model, x, y, heading, clock):
    scene = small(position=(x, y, 0.0), heading=heading, **MODELS[model])
    clock = 0.0 if scene.link.clock_known else clock
    # One configuration leaves places in the dark; the coarse search may miss a user in there.
    peak = scene.surface.array.elements
    assume("sweep" in MODELS[model] or abs(complex(alignment_response(scene)[0][0])) > 0.05 * peak)
    known = hidden(scene)
    found = estimate_pose(known, clean(scene, clock), bins_of(scene), place_grid(known, BINS))
    np.testing.assert_allclose(found.position, [x, y, 0.0], rtol=1e-8, atol=1e-8)
    assert min(apart(found.heading, heading), apart(found.mirror_heading, heading)) < 1e-7
    np.testing.assert_allclose(found.clock, clock, atol=1e-7)
    np.testing.assert_allclose(found.gains[0], 0.6 - 0.8j, rtol=1e-7)
    assert found.detected
    assert found.converged


ONE = ((0.0, 0.0),)


def places_at(bearing, distance):
    """Places in polar coordinates around the surface, at the height of the scene's user. [m]"""
    radius = np.sqrt(distance**2 - 30.0**2)
    x, y = radius * np.cos(bearing) - 20, radius * np.sin(bearing) + 20
    return np.stack([x, y, 0 * x], axis=1)


@functools.cache
def trial_function(model, configurations):
    """Estimates over a batch of trials, compiled once for each model."""
    still = configurations * ((0.0, 0.0),)
    base = small(**(MODELS[model] | {"sweep": still, "user_antennas": 16}))
    frequency, grid = bins_of(base), place_grid(base, BINS)

    def trial(offset, drawn):
        place, focus, heading, clock, snr_db, key = drawn
        here = base.with_user(place, heading).focused(alignment=focus)
        here = eqx.tree_at(lambda s: s.surface.alignment.offset, here, offset)

        def mean_of(scene, clock):  # for one transmit beam of unit gain, as matched pilots have it
            channel = channel_params(scene, unknowns_at(scene).at[5].set(clock))
            return pilot_mean(scene, channel, 1, frequency)[:, 0] * np.sqrt(ACTIVE)

        energy = jnp.sum(jnp.abs(mean_of(here, clock)) ** 2)
        here = eqx.tree_at(lambda s: s.link.noise_density, here, energy / 10 ** (snr_db / 10))
        matched = simulate_matched(here, ACTIVE, frequency, clock=clock, key=key)
        found = locate(hidden(here), matched, frequency, grid)

        def log_likelihood(mean):
            gain = 1.0
            if not here.link.gain_known:
                gain = jnp.vdot(mean, matched.samples) / jnp.sum(jnp.abs(mean) ** 2)
            whole = jnp.sum(jnp.abs(matched.samples) ** 2)
            left = jnp.sum(jnp.abs(matched.samples - gain * mean) ** 2)
            return (whole - left) / here.link.noise_density

        there = here.with_user(found.position, found.heading)
        off = jnp.linalg.norm(found.position - place)
        return (
            off / error_bounds(pose_information(here, ACTIVE))[0],
            log_likelihood(mean_of(there, found.clock)),
            log_likelihood(mean_of(here, clock)),
            found.detected & found.fits & found.unique,
        )

    return jax.jit(
        lambda offset, drawn: jax.lax.map(lambda each: trial(offset, each), drawn, batch_size=8)
    )


def random_trials(model, sweep, count, on_user, snr_db=None):
    """Estimates at random places, headings, clocks and SNRs.

    The surface is focused on the user or on another random place. Returns error over the PEB,
    log-likelihoods at estimate and truth, whether usable.
    """
    rng = np.random.default_rng(0)
    places = places_at(*rng.uniform([-1.4, 32.0], [1.4, 70.0], (count, 2)).T)
    heading = rng.uniform(-np.pi, np.pi, count)
    elsewhere = places_at(rng.uniform(-1.4, 1.4, count), rng.uniform(32.0, 70.0, count))
    focus = places if on_user else elsewhere
    rng = np.random.default_rng(1)
    clock = rng.uniform(-20, 20, count) * (model == "clock unknown")
    drawn = rng.choice([30.0, 60.0, 90.0], count)
    snr = drawn if snr_db is None else np.full(count, float(snr_db))
    keys = jax.random.split(jax.random.key(0), count)
    trials = (*map(jnp.asarray, (places, focus, heading, clock, snr)), keys)
    return map(np.asarray, trial_function(model, len(sweep))(real(sweep) / 8, trials))


def tolerance(log_likelihood):
    """Rounding of an energy that is up to 1e9 times the noise."""
    return 1e-4 + 1e-11 * np.abs(log_likelihood)


def check_likelihoods(found, truth, of):
    assert (found[of] >= truth[of] - tolerance(truth[of])).all()


def check_random_trials(model, sweep, count):
    for on_user in (True, False):
        error, found, truth, usable = random_trials(model, sweep, count, on_user)
        if sweep != ONE:  # with one configuration the likelihood of a known gain has fringes
            check_likelihoods(found, truth, usable)
        assert np.mean(found < truth - tolerance(truth)) <= 0.01
        if on_user:
            # Such an error has the probability 1e-11 if it is Gaussian.
            assert (error[usable] < 8).all()
            assert usable.mean() > 0.9 or sweep == ONE


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_likelier_than_the_estimate_and_usable_ones_are_right(model):
    check_random_trials(model, ONE if model == "gain known" else FOUR, 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "sweep"), [("gain known", ONE), *((model, FOUR) for model in MODELS)]
)
def test_nothing_is_likelier_than_the_estimate_at_200_places(model, sweep):
    check_random_trials(model, sweep, 200)


CROSS = ((0.9, 0.0), (-0.9, 0.0), (0.0, 0.9), (0.0, -0.9))
GROSS_ERRORS = {
    # (model, sweep, focused on the user): {SNR [dB]: (gross errors, usable, gross among these)}
    ("clock unknown", FOUR, True): {
        30: (0, 191, 0), 48: (0, 194, 0), 60: (0, 196, 0), 72: (0, 196, 0), 90: (0, 200, 0),
    },
    ("clock unknown", FOUR, False): {
        30: (29, 47, 0), 48: (11, 148, 0), 60: (11, 172, 0), 72: (7, 183, 0), 90: (2, 189, 0),
    },
    ("gain unknown", FOUR, True): {
        30: (0, 195, 0), 48: (0, 198, 0), 60: (0, 198, 0), 72: (0, 199, 0), 90: (0, 199, 0),
    },
    ("gain unknown", FOUR, False): {
        30: (24, 50, 0), 48: (8, 173, 0), 60: (3, 189, 0), 72: (3, 193, 0), 90: (0, 198, 0),
    },
    ("gain unknown", CROSS, True): {60: (0, 198, 0), 90: (0, 200, 0)},
    ("clock unknown", CROSS, True): {60: (59, 112, 0)},
}  # fmt: skip
"""Of 200 places; `docs/theory/estimation.md` has the same numbers in percent."""


@pytest.mark.slow
@pytest.mark.parametrize("case", GROSS_ERRORS)
def test_gross_errors_at_200_places_are_as_documented(case):
    model, sweep, on_user = case
    rows = {}
    for snr_db in GROSS_ERRORS[case]:
        error, found, truth, usable = random_trials(model, sweep, 200, on_user, snr_db)
        gross = error > 5
        rows[snr_db] = (gross.sum(), usable.sum(), (gross & usable).sum())
        check_likelihoods(found, truth, usable)
        assert rows[snr_db][2] <= 0.01 * usable.sum()
    print(case, rows)
    for snr_db, documented in GROSS_ERRORS[case].items():
        # Platforms may round a few trials to another maximum.
        np.testing.assert_allclose(rows[snr_db], documented, atol=4)


@pytest.mark.parametrize(("sweep", "unique"), [(FOUR, True), (CROSS, False)])
def test_the_margin_is_that_of_the_next_maximum(sweep, unique):
    scene = small(sweep=sweep, noise=1e-10, gain_known=False, clock_known=False, position=FOCUS)
    frequency, grid = bins_of(scene), place_grid(scene, BINS)
    samples = simulate_pilots(scene, ACTIVE, frequency, key=jax.random.key(1))
    found = estimate_pose(hidden(scene), samples, frequency, grid)
    assert found.detected
    assert found.fits
    assert found.converged
    assert bool(found.unique) == unique
    expected = float(found.snr) * (1 - next_correlation(scene, found.position))
    # The margin has a standard deviation of at most sqrt(2 SNR), 10^4 here.
    std = np.sqrt(2 * float(found.snr) * min(1, expected / float(found.snr)))
    assert abs(float(found.log_likelihood_margin) - expected) < 5 * std + 5


def next_correlation(scene, position):
    """Normalized correlation of the response at a place with the next local maximum.

    With unknown gain and clock the log-likelihood without noise is the SNR times this correlation.
    Local maxima of a dense grid are refined with SciPy.
    """
    own = alignment_response(scene.with_user(jnp.asarray(position), real(0.0)))[0]

    def correlation(place):
        other = alignment_response(scene.with_user(jnp.append(place, 0.0), real(0.0)))[0]
        energy = jnp.sum(jnp.abs(other) ** 2) * jnp.sum(jnp.abs(own) ** 2)
        return jnp.abs(jnp.vdot(other, own)) ** 2 / energy

    distance, bearing = np.linspace(30.05, 77.9, 200), np.linspace(-1.55, 1.55, 200)
    radius = np.sqrt(distance**2 - 30.0**2)[:, None]
    x, y = radius * np.cos(bearing) - 20, radius * np.sin(bearing) + 20
    value = np.asarray(jax.jit(jax.vmap(correlation))(jnp.stack([x.ravel(), y.ravel()], axis=1)))
    value = value.reshape(x.shape)
    peaks = np.argwhere(value == maximum_filter(value, 3, mode="constant", cval=1.0))
    peaks = sorted(peaks.tolist(), key=lambda at: -value[tuple(at)])[:12]
    evaluate = jax.jit(correlation)
    best = 0.0
    for row, column in peaks:
        start = [x[row, column], y[row, column]]
        end = minimize(
            lambda at: -float(evaluate(jnp.asarray(at))),
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-15},
        )
        if np.linalg.norm(end.x - np.asarray(position)[:2]) > 0.01:
            best = max(best, -end.fun)
    return best


def test_a_second_maximum_on_the_same_peak_of_the_grid_is_found():
    """Two maxima 0.24 beamwidths apart on a narrow ridge; the correlation is 1 - 7e-10."""
    scene = small(
        sweep=FOUR, gain_known=False, clock_known=False, user_antennas=16,
        position=(38.5176783, 17.67791297, 0.0), focus=(0.78424103, -12.1773508, 0.0),
    )  # fmt: skip
    density = jnp.sum(jnp.abs(clean(scene, -11.861790)) ** 2) / 1e9
    scene = eqx.tree_at(lambda s: s.link.noise_density, scene, density)
    known, frequency = hidden(scene), bins_of(scene)
    samples = clean(scene, -11.861790)
    found = estimate_pose(known, samples, frequency, place_grid(known, BINS))
    np.testing.assert_allclose(found.position, scene.user.position, atol=1e-3)
    twin = scene.with_user(jnp.array([49.3146, 17.4999, 0.0]), real(0.0))
    first, second = (alignment_response(each)[0] for each in (scene, twin))
    energy = jnp.sum(jnp.abs(first) ** 2) * jnp.sum(jnp.abs(second) ** 2)
    loss = 1e9 * (1 - float(jnp.abs(jnp.vdot(first, second)) ** 2 / energy))
    assert found.log_likelihood_margin <= loss + 1e-3
    assert loss < 10
    assert not found.unique


def test_the_expected_heading_picks_one_of_two():
    scene = small(**MODELS["gain unknown"])
    known, samples = hidden(scene), clean(scene)
    grid = place_grid(known, BINS)
    first = estimate_pose(known, samples, bins_of(scene), grid, real(np.pi / 4))
    other = estimate_pose(known, samples, bins_of(scene), grid, first.mirror_heading + 0.1)
    assert apart(first.heading, np.pi / 4) < 1e-7
    np.testing.assert_allclose(other.heading, first.mirror_heading, atol=1e-9)
    # Both give the same samples.
    mirrored = scene.with_user(scene.user.position, first.mirror_heading)
    np.testing.assert_allclose(clean(mirrored), samples, rtol=1e-6, atol=1e-9 * abs(samples).max())


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("noise", [1e-8, 1e-9, 1e-10])
def test_errors_reach_the_bound_of_the_definition(model, noise):
    trials = 600
    scene = small(noise=noise, position=(21.0, 38.0, 0.0), **MODELS[model])
    known, frequency = hidden(scene), bins_of(scene)
    grid = place_grid(known, BINS)

    def errors(key):
        samples = simulate_pilots(scene, ACTIVE, frequency, key=key)
        found = estimate_pose(known, samples, frequency, grid, scene.user.heading)
        turned = found.heading - scene.user.heading
        return jnp.append((found.position - scene.user.position)[:2], turned), found.reduced_chi2

    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(3), i))(jnp.arange(trials))
    error, reduced_chi2 = jax.jit(lambda k: jax.lax.map(errors, k))(keys)
    pose = pose_information_by_definition(scene, ACTIVE)
    bound = np.asarray(identify(pose.information, jnp.diag(pose.reference)).variance)
    squared = np.asarray(error) ** 2
    # The bins hold 1 - 1/F^2 of the band's delay information: at most so much more variance.
    spread = squared.std(axis=0) / np.sqrt(trials)
    mean = squared.mean(axis=0)
    assert (mean > bound - 4 * spread).all()
    assert (mean < bound / (1 - 1 / BINS**2) + 4 * spread).all()
    assert (4 * spread < 0.4 * bound).all()  # the comparison says something
    samples = 4 * ACTIVE * 8 * BINS if "sweep" in MODELS[model] else ACTIVE * 8 * BINS
    np.testing.assert_allclose(np.mean(reduced_chi2), 1, atol=4 / np.sqrt(samples * trials))


def test_estimates_turn_and_move_with_the_scene():
    angle, shift = 0.7, np.array([100.0, -40.0, 0.0])
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    options = {"sweep": FOUR, "gain_known": False, "noise": 1e-9}
    plain = small(position=(24.0, 37.0, 0.0), heading=0.4, **options)
    moved = small(
        base_station=turn @ [0, 0, 40.0] + shift,
        axis=turn @ [1.0, 0, 0],
        surface=turn @ [-20.0, 20, 30] + shift,
        horizontal=turn @ [0, 1.0, 0],
        normal=turn @ [1.0, 0, 0],
        focus=turn @ np.array(FOCUS) + shift,
        position=turn @ [24.0, 37, 0] + shift,
        heading=0.4 - angle,  # headings turn clockwise
        **options,
    )
    found = []
    for scene in (plain, moved):
        samples = simulate_pilots(scene, ACTIVE, bins_of(scene), key=jax.random.key(5))
        grid = place_grid(scene, BINS)
        found.append(estimate_pose(scene, samples, bins_of(scene), grid, scene.user.heading))
    expected = turn @ np.asarray(found[0].position) + shift
    np.testing.assert_allclose(found[1].position, expected, rtol=1e-6)
    assert apart(found[1].heading, float(found[0].heading) - angle) < 1e-6
    assert float(jnp.linalg.norm(found[0].position - plain.user.position)) > 1e-6  # noise is there


def test_samples_of_another_model_show():
    scene = small(noise=1e-10, **MODELS["gain unknown"])
    frequency, grid = bins_of(scene), place_grid(scene, BINS)
    samples = simulate_pilots(scene, ACTIVE, frequency, key=jax.random.key(0))
    assert estimate_pose(scene, samples, frequency, grid).fits
    # A second path that the model does not know, a tenth as strong.
    second = clean(scene.with_user(jnp.array([8.0, 30.0, 0.0]), jnp.asarray(1.0)))
    assert not estimate_pose(scene, samples + 0.1 * second, frequency, grid).fits


def test_noise_alone_is_no_user():
    scene = small(**MODELS["gain unknown"])
    frequency, grid = bins_of(scene), place_grid(scene, BINS)
    noise = jax.random.normal(jax.random.key(1), clean(scene).shape, dtype=complex)
    noise *= jnp.sqrt(scene.link.noise_density)
    found = estimate_pose(scene, noise, frequency, grid)
    assert not found.detected
    assert found.fits


def test_a_reach_the_bins_cannot_tell_apart_is_refused():
    scene = small()
    with pytest.raises(ValueError, match="with 16 bins it must be between 30 m"):
        place_grid(scene, 16, 80.0)
