"""No random key serves two purposes. Truths: every key that is used, recorded; correlations."""

import sys
import traceback
from collections import defaultdict
from itertools import count
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import heliostat as hs
from heliostat.design.result import patterned
from heliostat.protocol import target_search
from heliostat.protocol.search_region import DwellDesign, Scans
from heliostat.scenario import parse
from heliostat.scenario.random_keys import purpose_key
from tests.support.sensing_designs import cheap_design, yard

ROOM = """\
system: localization
carrier: {frequency: 30 GHz, bandwidth: 50 MHz}
base_station: {position: [10, -5, 8], antennas: 4, power: 30 dBm}
surface: {position: [0, 0, 3], rows: 4, columns: 4}
user: {position: [8, 6, 1], heading: 30 deg, antennas: 4}
link: {noise: -100 dBm, seed: 3}
frame: {pilot: 10 us, optimization: 1 ms, period: 5 ms}
errors: {position: 1 m, heading: 10 deg, mobility: 1 m, gain_variance: 1e-9}
"""
SAMPLERS, DERIVERS = ("bits", "uniform", "normal", "randint"), ("split", "fold_in")
BUILDERS = {"localization_scene", "sensing_scene"}


def room(**sets):
    return parse(ROOM, {key.replace("__", "."): value for key, value in sets.items()})


class Record:
    """Keys as they are used, also inside compiled and vectorized functions."""

    def __init__(self):
        self.forget()

    def forget(self):
        self.sampled, self.derived, self.numbers = defaultdict(set), set(), count()

    def watched(self, name):
        """A function of `jax.random` that also notes which keys it is given, and where."""
        original = getattr(jax.random, name)

        def used(key, *args, **kwargs):
            caller = sys._getframe(1)
            frames = [frame for frame, _ in traceback.walk_stack(caller)]
            # The public functions build the same scene more than once, from the same keys.
            building = any(frame.f_code.co_name in BUILDERS for frame in frames)
            where = (caller.f_code.co_filename, caller.f_lineno)
            jax.debug.callback(
                lambda data: self.note(name, where, building, np.asarray(data)),
                jax.random.key_data(key),
            )
            return original(key, *args, **kwargs)

        return used

    def note(self, name, where, building, data):
        for words in data.reshape(-1, data.shape[-1]):
            key = tuple(int(word) for word in words)
            if name in DERIVERS:
                self.derived.add(key)
            else:
                self.sampled[key].add((where, None if building else next(self.numbers)))


@pytest.fixture(scope="module")
def record():
    kept = Record()
    jax.clear_caches()  # programs compiled before do not record, those compiled now would go on
    with pytest.MonkeyPatch.context() as patch:
        for name in SAMPLERS + DERIVERS:
            patch.setattr(jax.random, name, kept.watched(name))
        yield kept
    jax.clear_caches()


def run_pilots(patch):
    hs.simulate_pilots(room(surface__phases="random"))


def run_errors(patch):
    hs.under_errors(room(), 2, trials=3)


def run_protocol(patch):
    # Errors are drawn besides everything that is drawn without them.
    hs.run_protocol(room(), 3, assumed_errors=True)


def run_echoes(patch):
    scenario = yard(link__seed=0)
    hs.simulate_echoes(scenario, *patterned(cheap_design(scenario)))


def run_search(patch):
    scenario = yard(surfaces__1__columns=2)
    # Designs use no JAX keys; these cost nothing.
    design = DwellDesign(*map(tuple, patterned(cheap_design(scenario))))
    patch.setattr(target_search, "known_target_bound", lambda *_: 0.1)
    patch.setattr(target_search, "_focused_design", lambda *_: SimpleNamespace(design=design))
    patch.setattr(Scans, "make", lambda *_: design)
    box = [[0.0, 10.0], [10.0, 20.0], [-1.0, 3.0]]
    assert hs.find_target(scenario, 2, region=box, accuracy=0.0).sizes["dwell"] == 2


def run_design(patch):
    def interrupt(*_, **__):
        raise InterruptedError  # the starting phases are drawn, the slow design is not needed

    patch.setattr("heliostat.design.reflect_sdr.design_reflection_sdr", interrupt)
    with pytest.raises(InterruptedError):
        hs.design_reflection(yard(link__seed=0), [0.1 * np.eye(4)] * 2, method="sdr")


@pytest.mark.parametrize(
    "run", [run_pilots, run_errors, run_protocol, run_echoes, run_search, run_design]
)
def test_no_key_is_sampled_twice_or_sampled_and_split(record, run, monkeypatch):
    record.forget()
    run(monkeypatch)
    jax.effects_barrier()
    assert record.sampled
    assert [uses for uses in record.sampled.values() if len(uses) > 1] == []
    assert record.derived & set(record.sampled) == set()


def largest_correlation(first, second):
    """Of any column of one with any column of the other, over the rows."""
    one, two = (x - x.mean(axis=0) for x in (first, second))
    one, two = (x / np.linalg.norm(x, axis=0) for x in (one, two))
    return np.abs(one.T @ two).max()


def parts(samples):
    flat = np.asarray(samples).reshape(-1)
    return np.concatenate([flat.real, flat.imag])


def test_pilot_noise_is_independent_of_the_random_channel():
    seeds, phases, noise = 150, [], []
    for seed in range(seeds):
        # Noise is all that is received.
        scenario = room(link__seed=seed, link__noise="60 dBm", surface__phases="random")
        scene = scenario.build()
        phases.append([jnp.angle(-scene.surface.gain), *scene.surface.alignment.phase[0]])
        noise.append(parts(hs.simulate_pilots(scenario, 2, bins=2).samples))
    # Of independent columns it is below 6 / sqrt(seeds) but for one in 10^8 pairs.
    assert largest_correlation(np.array(phases), np.array(noise)) < 6 / np.sqrt(seeds)


def test_a_seed_keeps_the_scene_it_has_always_had():
    scene = yard(link__seed=5, link__rician="-300 dB").build()
    root = jax.random.key(5)
    for i, channel in enumerate(scene.bs_to_irs):
        diffuse = jax.random.normal(jax.random.fold_in(root, i), channel.shape, dtype=complex)
        np.testing.assert_allclose(channel / channel[0, 0], diffuse / diffuse[0, 0], rtol=1e-9)
    phase = jax.random.uniform(jax.random.split(root, 3)[0], maxval=2 * np.pi)
    gain = room(link__seed=5).build().surface.gain
    np.testing.assert_allclose(gain, np.exp(1j * phase), rtol=1e-12)


def test_a_seed_and_its_key_are_the_same_root():
    for purpose in ("noise", "motion"):
        assert purpose_key(7, purpose) == purpose_key(jax.random.key(7), purpose)
    assert purpose_key(7, "noise") != purpose_key(7, "motion")
