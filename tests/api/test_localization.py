"""Truths: the physics called directly, the paper's numbers by hand, what bad requests are told."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import heliostat as hs
from heliostat.api.localization_results import NotIdentifiableError
from heliostat.bounds.pose import (
    error_bounds,
    pose_information,
    pose_information_by_definition,
)
from heliostat.protocol.period import next_share
from heliostat.rates.effective import codebook_snr, eadr

TABLE = hs.load("localization-table-1")
BLIND = {"model.gain": "unknown", "surface.sweep": [[0, 0]]}


def test_bounds_of_a_scenario_are_those_of_the_definition():
    bounds = hs.pose_bounds(TABLE, 4)
    peb, reb = error_bounds(pose_information_by_definition(TABLE.build(), 4))
    np.testing.assert_allclose([bounds.peb, bounds.reb], [peb, reb], rtol=1e-9)
    covariance = np.linalg.inv(bounds.information)
    np.testing.assert_allclose(bounds.peb, np.sqrt(np.trace(covariance[:2, :2])), rtol=1e-6)
    np.testing.assert_allclose(bounds.reb, np.sqrt(covariance[2, 2]), rtol=1e-6)
    assert bounds.identifiable
    assert bounds.rank == 3
    assert bounds.reason == ""
    assert bounds.unidentifiable.shape == (0, 3)


def test_a_singular_model_names_its_lost_direction():
    bounds = hs.pose_bounds(TABLE.updated(BLIND), 8)
    assert bounds.peb == bounds.reb == np.inf
    assert not bounds.identifiable
    assert bounds.unidentifiable.shape == (1, 3)
    # Moving around the surface at its distance, height and radius kept: across the line of sight.
    along = np.array([40.0, 20.0]) / np.hypot(40, 20)
    move = bounds.unidentifiable[0, :2]
    assert abs(move @ along) < 1e-6 * np.linalg.norm(move)
    assert "do not change the received pilots" in bounds.reason


def test_as_printed_is_larger_by_what_the_paper_gets_wrong():
    printed = hs.pose_bounds(TABLE.updated({"model.as_printed": True}), 8)
    right = hs.pose_bounds(TABLE, 8)
    assert printed.peb != right.peb
    assert 1.2 < printed.peb / right.peb < 1.7  # sqrt 2 and the vertical sign of (11)
    one_row = {"surface.rows": 1}
    ratio = (
        hs.pose_bounds(TABLE.updated({**one_row, "model.as_printed": True}), 8).peb
        / hs.pose_bounds(TABLE.updated(one_row), 8).peb
    )
    np.testing.assert_allclose(ratio, np.sqrt(2), rtol=1e-4)


def test_as_printed_leaves_reflection_out_of_the_rate():
    weak = {"surface.reflection": 0.5}
    whole = hs.effective_rate(TABLE, 4)
    printed = hs.effective_rate(TABLE.updated({**weak, "model.as_printed": True}), 4)
    right = hs.effective_rate(TABLE.updated(weak), 4)
    np.testing.assert_allclose(printed.eadr_closed_form, whole.eadr_closed_form, rtol=1e-12)
    np.testing.assert_allclose(right.snr, whole.snr / 4, rtol=1e-12)


def test_allocation_is_the_best_of_all_its_choices():
    for request in ({"weight": 1e-10}, {"weight": 1e-13}, {"balance": 0.4}):
        best = hs.allocate_time(TABLE, **request)
        table = best.trade_off
        for active in (1, best.active_antennas, 32):
            row = active - 1
            bounds, rate = hs.pose_bounds(TABLE, active), hs.effective_rate(TABLE, active)
            np.testing.assert_allclose(table.peb[row], bounds.peb, rtol=1e-9)
            np.testing.assert_allclose(table.eadr[row], rate.eadr, rtol=1e-9, atol=1e-3)
        if "weight" in request:
            objective = table.peb + table.reb - request["weight"] * table.eadr
        else:
            with np.errstate(divide="ignore"):
                objective = 0.4 * np.log(table.peb) - 0.6 * np.log(table.eadr)
        assert best.objective == objective.min()
        assert best.active_antennas == table.active_antennas[np.argmin(objective)]
        assert not table.dominated[best.active_antennas - 1]
        assert best.kkt_residual < 1e-9
        assert best.multiplier == 0


def test_continuous_optimum_of_the_paper_is_what_scipy_finds():
    best = hs.allocate_time(TABLE, weight=1e-12)
    scale = (hs.pose_bounds(TABLE, 1).peb + hs.pose_bounds(TABLE, 1).reb) * np.sqrt(
        32 * 67e-6 / 69.608e-3
    )
    snr = 10**-0.3 * (299792458 / 60e9 / 4 / np.pi / (30 + np.sqrt(2900))) ** 2 * 64**2 / 1e-11
    slope, available = snr * 69.608e-3 / 67e-6, 1 - 1e-3 / 69.608e-3

    def objective(log_ratio):
        ratio = np.exp(log_ratio)
        rate = (available - ratio) * 1e8 * np.log2(1 + slope * ratio)
        return scale / np.sqrt(ratio) - 1e-12 * rate

    found = minimize_scalar(
        objective,
        bounds=(np.log(1e-5), np.log(available)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    np.testing.assert_allclose(best.ratio, np.exp(found.x), rtol=1e-4)


def test_the_whole_trade_off_has_dominated_choices_before_the_peak():
    table = hs.allocate_time(TABLE).trade_off
    peak = int(np.argmax(table.eadr))
    assert peak > 0
    assert np.all(table.dominated[:peak])


def test_without_a_bound_there_is_nothing_to_trade():
    with pytest.raises(NotIdentifiableError, match=r"PEB \+ REB is infinite"):
        hs.allocate_time(TABLE.updated(BLIND))


@pytest.mark.parametrize("active", [0, -1, 33])
def test_impossible_numbers_of_antennas_are_refused(active):
    with pytest.raises(ValueError, match="from 1 to 32"):
        hs.pose_bounds(TABLE, active)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"weight": 1.0, "balance": 0.5}, "not both"),
        ({"balance": 1.0}, "or more, and below 1"),
        ({"balance": -0.1}, "0 .rate alone"),
        ({"weight": float("nan")}, "finite"),
        ({"weight": -1.0}, "0 or more"),
    ],
)
def test_impossible_weights_are_refused(request_, message):
    with pytest.raises(ValueError, match=message):
        hs.allocate_time(TABLE, **request_)


def test_a_short_period_limits_the_antennas():
    short = TABLE.updated({"frame.period": "10 ms"})
    most = int((10e-3 - 1e-3) / (32 * 67e-6))
    assert hs.allocate_time(short).trade_off.active_antennas[-1] == most
    with pytest.raises(ValueError, match=f"from 1 to {most}"):
        hs.pose_bounds(short, most + 1)


def test_random_phases_are_drawn_from_the_seed_or_a_key():
    import jax

    scenario = TABLE.updated({"surface.phases": "random"})
    again = hs.pose_bounds(scenario, 4)
    assert hs.pose_bounds(scenario, 4).peb == again.peb
    other = hs.pose_bounds(scenario, 4, key=jax.random.key(9))
    assert other.peb != again.peb
    assert hs.pose_bounds(scenario.updated({"link.seed": 5}), 4).peb != again.peb


def test_results_show_themselves_in_a_notebook():
    for result, word in (
        (hs.pose_bounds(TABLE, 4), "PEB"),
        (hs.effective_rate(TABLE, 4), "Mbit/s"),
        (hs.allocate_time(TABLE), "antennas"),
    ):
        html = result._repr_html_()
        assert html.startswith("<table>")
        assert word in html


def test_a_balance_needs_the_position_bound_only():
    one_antenna = TABLE.updated({"user.antennas": 1})  # heading cannot be seen
    assert hs.pose_bounds(one_antenna, 8).reb == np.inf
    assert hs.allocate_time(one_antenna, balance=0.5).kkt_residual < 1e-9
    with pytest.raises(NotIdentifiableError):
        hs.allocate_time(one_antenna, weight=1e-10)


def test_the_best_share_is_one_the_antennas_can_use():
    long = TABLE.updated({"frame.period": "500 ms"})
    most = 32 * 32 * 67e-6 / 0.5
    for request in ({"weight": 1e-13}, {"balance": 0.9}):
        best = hs.allocate_time(long, **request)
        assert best.ratio <= most * (1 + 1e-12)
        assert best.peak_rate_ratio <= most * (1 + 1e-12)
    assert hs.allocate_time(long, balance=0.9).multiplier > 0


@pytest.mark.parametrize("antennas", range(1, 20))
def test_the_default_period_holds_every_antenna(antennas):
    scenario = TABLE.updated(
        {
            "base_station.antennas": antennas,
            "user.antennas": 1,
            "frame.pilot": "1 us",
            "frame.optimization": "1 s",
        }
    )
    assert hs.allocate_time(scenario, balance=0.5).trade_off.active_antennas[-1] == antennas
    held = scenario.updated({"frame.period": f"{antennas * 1e-6 + 1!r} s"})
    assert hs.allocate_time(held, balance=0.5).trade_off.active_antennas[-1] == antennas


@pytest.mark.parametrize("bits", [None, 2])
def test_errors_of_a_scenario_act_by_where_they_steer_the_surface(bits):
    # Truth: each trial a scenario of its own, its focus where the draw says the surface looks.
    import jax

    from heliostat.protocol.errors import ErrorLevels, draw_errors
    from heliostat.scenario.random_keys import purpose_key

    scenario = TABLE.updated(
        {
            "surface.bits": bits,
            "surface.rows": 4,
            "surface.columns": 4,
            "errors.position": "3 m",
            "errors.mobility": "2 m",
        }
    )
    effect = hs.under_errors(scenario, 8, trials=3)
    levels = ErrorLevels(*(jnp.asarray(x) for x in (3.0, 0.0, 2.0, 0.0)))
    peb, rate = [], []
    for i in range(3):
        drawn = draw_errors(levels, jax.random.fold_in(purpose_key(0, "errors"), i))
        at = lambda offset: [20 + float(offset[0]), 40 + float(offset[1]), 0.0]
        before = scenario.updated({"surface.focus": at(drawn.movement + drawn.previous_position)})
        now = scenario.updated({"surface.focus": at(drawn.position)})
        peb.append(hs.pose_bounds(before, 8).peb)
        rate.append(hs.effective_rate(now, 8).eadr)
    np.testing.assert_allclose(effect.peb_median, np.median(peb), rtol=1e-9)
    np.testing.assert_allclose(effect.peb_90, max(peb), rtol=1e-9)
    np.testing.assert_allclose(effect.eadr_mean, np.mean(rate), rtol=1e-9)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({}, "localization-table-1 has no errors; set errors.position"),
        ({"errors.position": "1 m", "surface.phases": "random"}, "surface.phases of .* are random"),
    ],
)
def test_errors_without_an_effect_are_refused_with_the_reason(overrides, sentence):
    with pytest.raises(ValueError, match=sentence):
        hs.under_errors(TABLE.updated(overrides), 8)


SIZES = [(1, 5, 7, 4), (40, 64, 8, 16)]
"""Rows, columns, antennas of the base station, of the user."""


def sized(rows, columns, antennas, user_antennas):
    sizes = {"surface.rows": rows, "surface.columns": columns}
    ends = {"base_station.antennas": antennas, "user.antennas": user_antennas}
    return hs.load("localization-table-1", sizes | ends | {"frame.period": "20 ms"})


TRACED = r"Finished tracing (\w+)"
"""JAX's message about a program that it traces."""


def test_other_sizes_give_what_their_own_programs_give_without_compiling_anew(caplog):
    def results(scenario):
        best = hs.allocate_time(scenario)
        return [hs.pose_bounds(scenario), hs.effective_rate(scenario), best]

    @jax.jit
    def plain(scene, antennas):
        share = next_share(scene, jnp.asarray(1e-10))
        bounds = error_bounds(pose_information(scene, antennas))
        return *bounds, eadr(scene, antennas), codebook_snr(scene, antennas), share.ratio

    jax.clear_caches()  # other tests may have traced the programs
    with jax.log_compiles():
        results(sized(2, 2, 6, 3))
    closed_forms = {"_bounds", "_rates", "_choices", "_compiled_share"}
    assert closed_forms <= set(re.findall(TRACED, caplog.text))
    caplog.clear()
    for sizes in SIZES:
        with jax.log_compiles():
            bounds, rate, best = results(sized(*sizes))
        # Truth: the same functions, compiled with the sizes as plain numbers.
        peb, reb, of_rate, snr, ratio = plain(sized(*sizes).build(), jnp.asarray(float(sizes[2])))
        np.testing.assert_allclose([bounds.peb, bounds.reb], [peb, reb], rtol=1e-12)
        np.testing.assert_allclose([rate.eadr, rate.snr], [of_rate, snr], rtol=1e-12)
        np.testing.assert_allclose(best.ratio, ratio, rtol=1e-12)
        assert len(best.trade_off.peb) == sizes[2]
        np.testing.assert_allclose(best.trade_off.peb[-1], peb, rtol=1e-12)
    assert not closed_forms & set(re.findall(TRACED, caplog.text))


def test_a_designed_sweep_has_the_pebs_it_reports_and_beats_the_default_sweep():
    changes = {"model.gain": "unknown", "base_station.antennas": 8, "user.antennas": 8}
    scenario = TABLE.updated(changes | {"surface.sweep": None})
    places = [[x, y, 0.0] for x in (14.0, 26.0) for y in (34.0, 46.0)]
    design = hs.design_sweep(scenario, places, active_antennas=4, starts=2)
    swept = {"surface.focus": design.focus.tolist(), "surface.sweep": design.sweep.tolist()}

    def pebs(used):
        moved = [used.updated({"user.position": place}) for place in places]
        return [hs.pose_bounds(each, 4).peb for each in moved]

    np.testing.assert_allclose(design.peb, pebs(scenario.updated(swept)), rtol=1e-6)
    assert design.value == max(design.peb)
    default = pebs(scenario.updated({"surface.focus": [20.0, 40.0, 0.0]}))
    assert design.value < max(default)


@pytest.mark.parametrize(
    ("changes", "arguments", "sentence"),
    [
        ({}, {"positions": [1.0, 2.0, 3.0]}, "needs \\(position, 3\\)"),
        ({}, {"positions": [[-30.0, 40.0, 0.0]]}, "in front of the surface"),
        ({}, {"configurations": 0}, "configurations is 0"),
        ({"surface.bits": 2}, {}, "no surface.bits"),
    ],
)
def test_sweep_designs_refuse_what_they_cannot_do(changes, arguments, sentence):
    arguments = {"positions": [[20.0, 40.0, 0.0]]} | arguments
    with pytest.raises(ValueError, match=sentence):
        hs.design_sweep(TABLE.updated(changes), **arguments)
