"""Results of a sensing run against the API and paper eq. (7) in plain sums; tables and JSON."""

import json
import math
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import heliostat as hs
from heliostat.api import sensing as sensing_api
from heliostat.api.sensing import designed
from heliostat.api.sensing_evaluation import evaluate_sensing
from heliostat.design.result import patterned
from heliostat.reports.sensing import TERMS, sensing_report
from heliostat.scenario import ScenarioError, parse
from tests.reports.test_localization import Page
from tests.support.sensing_designs import cheap_design, yard


@pytest.fixture(scope="module")
def deployment():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensing_api, "design_beamforming", cheap_design)
        return evaluate_sensing(yard(dwell__patterns=2), overrides={"a.b": "<i>"})


@pytest.fixture(scope="module")
def hopeless(deployment):
    """The same where the elevation is not identifiable at surface 0."""
    crb, std = deployment.bounds.crb.copy(), deployment.bounds.direction_std.copy()
    crb[0] = std[0, 0] = np.inf
    lost = (("elevation",), ())
    bounds = replace(deployment.bounds, crb=crb, direction_std=std, lost=lost)
    return replace(deployment, bounds=bounds, design=replace(deployment.design, crb=jnp.array(crb)))


def literal_powers(scene, index, psi, sent):
    """Paper eq. (7) with its matrices written out: signal, noise, echo, echoed noise."""
    Theta, G = np.diag(np.asarray(psi)), np.asarray(scene.bs_to_irs[index])
    surface, angles = scene.surfaces[index], np.asarray(scene.angles())[index]
    theta, phi = angles
    noise, count = float(surface.noise), len(psi)
    a = np.array(
        [
            np.exp(1j * np.pi * (h * np.sin(theta) * np.cos(phi) + v * np.cos(theta)))
            for v in range(surface.array.rows)
            for h in range(surface.array.columns)
        ]
    )
    E = complex(scene.target_gain[index]) * np.outer(a, a)
    R, eye = np.asarray(sent), np.eye(count)

    def power(matrix, covariance):
        return np.trace(matrix @ covariance @ matrix.conj().T).real

    return {
        "signal": power(Theta @ G, R),
        "noise": 2 * noise * power(Theta, eye),
        "echo": power(Theta @ E @ Theta @ G, R),
        "echo_noise": noise * power(Theta @ E @ Theta, eye),
    }


# results


def test_the_bounds_are_those_of_the_design(deployment):
    design = deployment.design
    bounds = hs.direction_bounds(deployment.scenario, design.covariance, design.reflection)
    np.testing.assert_array_equal(deployment.bounds.crb, bounds.crb)
    np.testing.assert_allclose(bounds.crb, design.crb, rtol=1e-9)
    told = sensing_report(deployment).document()
    assert told["position_bound_m"] == bounds.position_bound
    assert [s["elevation_std_rad"] for s in told["surfaces"]] == bounds.direction_std[:, 0].tolist()
    assert [s["azimuth_std_rad"] for s in told["surfaces"]] == bounds.direction_std[:, 1].tolist()
    assert [s["crb_rad2"] for s in told["surfaces"]] == bounds.crb.tolist()
    assert told["worst_crb_rad2"] == pytest.approx(bounds.crb.max(), rel=1e-9)
    assert told["gap"] == pytest.approx(2 / 3, rel=1e-9)
    assert told["excess_db"] == pytest.approx(10 * np.log10(3), rel=1e-9)
    assert told["history_rad2"] == design.history.tolist()
    assert told["status"] == design.status == "feasible"


def test_the_powers_are_those_of_equation_7(deployment):
    covariance, settings = patterned(deployment.design)
    told = sensing_report(deployment).document()["surfaces"]
    for i, surface in enumerate(told):
        expected = [
            literal_powers(deployment.scene, i, psi, sent)
            for psi, sent in zip(settings[i], covariance[i], strict=True)
        ]
        for term in TERMS:
            np.testing.assert_allclose(
                surface["by_pattern"][f"{term}_power_w"], [e[term] for e in expected], rtol=1e-9
            )
        most = max(sum(e.values()) for e in expected)
        assert surface["radiated_w"] == pytest.approx(most, rel=1e-9)
        assert surface["power_slack_w"] == pytest.approx(0.5 - most, rel=1e-9)
        sent = np.trace(covariance[i], axis1=1, axis2=2).real
        assert surface["sent_w"] == pytest.approx(sent.mean(), rel=1e-12)
        np.testing.assert_allclose(surface["by_pattern"]["sent_w"], sent)


def test_a_lost_angle_is_named_and_all_else_stands(hopeless):
    told = json.loads(json.dumps(sensing_report(hopeless).document(), allow_nan=False))
    assert told["surfaces"][0]["lost"] == ["elevation"]
    assert told["surfaces"][0]["elevation_std_rad"] is None
    assert told["surfaces"][1]["elevation_std_rad"] > 0
    assert told["worst_crb_rad2"] is None
    assert "Not identifiable at surface 0: elevation." in told["reason"]
    assert told["reason"] == sensing_report(hopeless).notes[0]


def test_an_snr_out_of_reach_is_refused_with_what_can_be_had(monkeypatch):
    def fail(*_, **__):
        raise ValueError("no design was found")

    monkeypatch.setattr(sensing_api, "design_beamforming", fail)
    # Truth: with one antenna and one element nothing but its amplitude can be chosen, so that the
    # SNR follows from the radar equation by hand; the surface's power is no limit.
    lone = {"position": [-5, 10, 3], "amplification": 4, "power": "1 kW", "noise": "-90 dBm"}
    scenario = yard(
        surfaces=[lone | {"rows": 1, "columns": 1}],
        base_station__antennas=1,
        dwell__min_snr="90 dB",
    )
    scene = scenario.build()
    there = abs(complex(scene.bs_to_irs[0][0, 0])) ** 2 * 16
    strength = abs(complex(scene.target_gain[0])) ** 2 * there**2 * 2 * 100
    reach_db = 10 * np.log10(strength / (1e-12 * (1 + there)))
    with pytest.raises(ScenarioError) as refused:
        designed(scenario)
    remedy = f"write {math.floor(10 * reach_db) / 10:g} dB, or none"
    assert str(refused.value).startswith(
        "scenario: dwell.min_snr: no design was found that reaches 90 dB at every surface; "
    )
    assert remedy in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_else_is_wrong_is_no_matter_of_the_snr():
    with pytest.raises(ValueError, match=r"patterns .* is 2, method 'sdr' designs 1"):
        designed(yard(dwell__patterns=2, dwell__min_snr="20 dB"), "sdr")


# tables, JSON, page and dataset


def test_every_number_of_the_page_is_the_documents(deployment):
    shown = Page(sensing_report(deployment).html({"Caption": b"not quite a picture"}))
    told = sensing_report(deployment).document()
    for name in ("worst_crb_rad2", "gap", "position_bound_m", "lower_bound_rad2", "transmitted_w"):
        assert shown.numbers[name] == told[name], name
    for i, surface in enumerate(told["surfaces"]):
        for name in set(surface) - {"lost", "by_pattern", "crb_rad2"}:
            number = shown.numbers[f"surface_{i}_{name}"]
            assert number == surface[name] or (np.isinf(number) and surface[name] is None), name
    assert deployment.scenario.dump() in shown.text
    assert "a.b=<i>" in shown.text
    assert "design.npz" in shown.text


def test_tables_tell_powers_in_dbm_and_angles_in_degrees(deployment):
    std = np.array([[0.01, 0.02], [1.5, 0.04]])
    found = replace(deployment, bounds=replace(deployment.bounds, direction_std=std))
    design, bounds, powers, slack = sensing_report(found).tables
    told = sensing_report(found).document()["surfaces"][1]
    line = dict(zip(powers.heads, powers.texts[1], strict=True))
    assert float(line["radiated"]) == pytest.approx(
        10 * np.log10(1e3 * told["radiated_w"]), abs=0.06
    )
    line = dict(zip(bounds.heads, bounds.texts[1], strict=True))
    degrees = float(line["azimuth"].removesuffix(" deg"))
    assert degrees == pytest.approx(np.degrees(0.04), rel=1e-2)
    assert line["elevation"] == "above 1 rad"
    assert told["elevation_std_rad"] == 1.5
    assert powers.texts[1][0] == slack.texts[1][0] == "1"
    assert slack.texts[0][-1] == "no limit"
    assert ["Status", "feasible"] in design.texts


def test_the_dataset_has_units_everywhere_and_its_origin(deployment, tmp_path):
    sensing_report(deployment).write(tmp_path)
    with xr.open_dataset(tmp_path / "results.nc", engine="h5netcdf") as dataset:
        variables = {**dataset.data_vars, **dataset.coords}
        without = {name for name, variable in variables.items() if "units" not in variable.attrs}
        assert without == {"angle"}
        np.testing.assert_array_equal(dataset.direction_std, deployment.bounds.direction_std)
        np.testing.assert_array_equal(dataset.beampattern, deployment.beampatterns)
        assert parse(dataset.attrs["scenario_text"]).dump() == deployment.scenario.dump()
