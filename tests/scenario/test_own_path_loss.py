"""Path-loss laws of one's own; truths are the packaged laws and closed forms by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

import heliostat as hs
from heliostat.channel.path_loss import product
from tests.scenario.test_localization import BARE

TABLE_1 = "localization-table-1"


def exponent_law(bs_to_irs, irs_to_user, wavelength, element_area):
    """The product law with the exponents 2 and 3."""
    return element_area / (4 * jnp.pi * bs_to_irs * irs_to_user**1.5)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "hall.yaml"
    path.write_text(BARE)
    return path


def test_a_packaged_law_passed_as_a_function_gives_the_same_bounds_and_rates():
    by_name = hs.load(TABLE_1, {"link.path_loss": "product"})
    own = hs.load(TABLE_1, path_loss=product)
    assert hs.pose_bounds(own, 8).peb == pytest.approx(hs.pose_bounds(by_name, 8).peb, rel=1e-12)
    named, passed = (hs.effective_rate(s, 8).eadr_closed_form for s in (by_name, own))
    assert passed == pytest.approx(named, rel=1e-12)


def test_amplitude_is_that_of_the_function(file):
    gains = {"base_station.antenna_gain": "6 dBi", "surface.element_gain": "2 dBi"}
    scenario = hs.load(file, gains | {"link.attenuation": 0.7}, path_loss=exponent_law)
    first, second = np.sqrt(150), np.sqrt(104)
    area = 10**0.2 * scenario.wavelength**2 / (4 * np.pi)
    expected = 0.7 * np.sqrt(10**0.6) * area / (4 * np.pi * first * second**1.5)
    amplitude = float(scenario.build().path_amplitude(jnp.asarray(second)))
    assert amplitude == pytest.approx(expected, rel=1e-12)


def test_the_law_stays_until_another_is_written(file):
    own = hs.load(file, path_loss=exponent_law)
    larger = own.updated({"surface.rows": 4})
    assert larger.path_loss is exponent_law
    assert hs.load(larger).path_loss is exponent_law
    assert hs.load(hs.load(file), path_loss=exponent_law).path_loss is exponent_law
    assert own.updated({"link.path_loss": "product"}).path_loss is None
    assert hs.load(file).path_loss is None


def test_a_dump_names_the_function_and_is_refused(file, tmp_path):
    text = hs.load(file, path_loss=exponent_law).dump()
    assert "path_loss: function exponent_law" in text
    (tmp_path / "dumped.yaml").write_text(text)
    with pytest.raises(hs.ScenarioError, match=r"'function exponent_law' was a function in Python"):
        hs.load(tmp_path / "dumped.yaml")


@pytest.mark.parametrize(
    ("law", "message"),
    [
        (lambda a, b, c, d: jnp.stack([a, b]), r"returns an array of shape \(2,\); it must return"),
        (lambda a, b, c, d: -a, r"returns -12\.2\d*; it must return one positive number"),
        (lambda a, b, c, d: 0.0, "returns 0.0; it must return one positive number"),
        (lambda a, b, c, d: a * jnp.nan, "returns nan; it must return one positive number"),
        (lambda a, b, c, d: jnp.exp(1j * a), "returns an array of complex128; it must"),
        (lambda a, b, c, d: None, "returns a NoneType; it must return one positive number"),
        (lambda a, b, c, d: "-60 dB", "returns a str; it must return one positive number"),
        (lambda a, b, c: a, "raises TypeError: .* takes 3 positional arguments but 4"),
        (lambda a, b, c, d: 1 / float(b), r"cannot be traced by JAX .*; write it with jax\.numpy"),
        (lambda a, b, c, d: a if b > 3 else b, "cannot be traced by JAX"),
        (lambda a, b, c, d: np.log10(b), "cannot be traced by JAX"),
        (lambda a, b, c, d: 1 + jnp.sqrt(b - b), "with respect to irs_to_user is nan"),
    ],
)
def test_unusable_laws_are_refused(file, law, message):
    with pytest.raises(hs.ScenarioError, match=message) as caught:
        hs.load(file, path_loss=law)
    (problem,) = caught.value.problems
    assert problem.field == "link.path_loss"


def test_laws_for_sensing_are_refused():
    with pytest.raises(TypeError, match="path_loss is for localization scenarios"):
        hs.load("sensing-two-surfaces", path_loss=exponent_law)


def test_a_misplaced_user_is_one_problem(file):
    with pytest.raises(hs.ScenarioError) as caught:
        hs.load(file, {"user.position": [0, 0, 3]}, path_loss=exponent_law)
    assert [problem.field for problem in caught.value.problems] == ["user.position"]


def test_too_strong_a_law_is_a_note_and_the_printed_equations_refuse_any(file):
    def strong(bs_to_irs, irs_to_user, wavelength, element_area):
        return 10 * product(bs_to_irs, irs_to_user, wavelength, element_area)

    (note,) = hs.load(file, path_loss=strong).notes
    assert "gains 20 dB over free space" in note
    assert "check strong and link.attenuation" in note
    assert hs.load(file, path_loss=exponent_law).notes == ()
    with pytest.raises(hs.ScenarioError, match=r"link\.path_loss: sum_distance"):
        hs.load(TABLE_1, {"model.as_printed": True}, path_loss=exponent_law)
