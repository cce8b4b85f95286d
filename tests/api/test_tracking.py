"""The process over many periods, from scenario and CSV to data."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import heliostat as hs
from heliostat.api.tracking import TrackError, read_track

ROOM = """\
system: localization
carrier: {frequency: 30 GHz, bandwidth: 50 MHz}
base_station: {position: [10, -5, 8], antennas: 4, power: 30 dBm}
surface: {position: [0, 0, 3], rows: 8, columns: 8}
user: {position: [8, 6, 1], heading: 30 deg, antennas: 8}
link: {noise: -100 dBm}
frame: {pilot: 10 us, optimization: 1 ms, period: 5 ms}
"""
WALK = np.array([[8.0, 6.0, 0.5], [8.5, 6.5, 0.6], [9.0, 7.0, np.nan], [9.0, 8.0, 0.7]])


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Loads the room with overrides."""
    file = tmp_path_factory.mktemp("scenarios") / "room.yaml"
    file.write_text(ROOM, encoding="utf-8")
    return lambda **sets: hs.load(file, {k.replace("__", "."): v for k, v in sets.items()})


def test_a_key_decides_all_that_is_random(room):
    run = lambda seed: hs.run_protocol(room(), 4, mobility=1.0, key=jax.random.key(seed))
    first, again, other = run(1), run(1), run(2)
    assert first.identical(again)
    assert not np.array_equal(first.x[1:], other.x[1:])
    assert not np.array_equal(first.x_estimate, other.x_estimate)
    assert {name: v.attrs["units"] for name, v in first.data_vars.items()}["eadr"] == "bit/s"
    # What it says of its errors is what they are.
    off = np.hypot(first.x_estimate - first.x, first.y_estimate - first.y)
    np.testing.assert_allclose(first.position_error, off, rtol=1e-12)
    bound = np.sqrt(np.trace(first.bound_covariance.values, axis1=1, axis2=2))
    np.testing.assert_allclose(first.peb, bound, rtol=1e-9)
    assert (first.position_error < 6 * first.peb).all()
    assert first.attrs["lost_periods"] == 0


def test_the_first_period_has_the_bound_and_antennas_of_the_scenario_itself(room):
    run = hs.run_protocol(room(), 4, mobility=1.0)
    best = hs.allocate_time(room(), weight=1e-10)
    assert run.active_antennas[0] == best.active_antennas
    bounds = hs.pose_bounds(room(), best.active_antennas)
    # Sixteen bins show a delay a little less well than a flat band.
    np.testing.assert_allclose(run.peb[0], bounds.peb, rtol=0.01)


def test_lost_periods_are_counted_and_carry_no_data(room):
    run = hs.run_protocol(room(link__noise="20 dBm"), 4, mobility=1.0)
    assert run.attrs["lost_periods"] == 4
    assert not run.found.any()
    assert (run.eadr == 0).all()


def test_where_pilots_cannot_tell_the_place_no_bound_exists_and_nothing_is_nan(room):
    # An unknown gain and one configuration, over and over: compiled like the room's own four.
    blind = room(surface__sweep=str([[0, 0]] * 4), model__gain="unknown")
    run = hs.run_protocol(blind, 4, mobility=1.0)
    # What the first sweep saw could be anywhere; a search's beams are not the same any more.
    assert np.isinf(run.peb[0])
    assert not run.found[0]
    assert np.isfinite(run.peb[1:]).any()
    assert not any(np.isnan(values).any() for values in run.data_vars.values())
    assert (run.active_antennas >= 1).all()


def test_zero_errors_give_the_true_pose_along_the_track(room):
    run = hs.run_protocol(room(), 10, track=WALK, assumed_errors=True)
    np.testing.assert_allclose(np.stack([run.x, run.y], 1), WALK[:, :2], rtol=1e-15)
    np.testing.assert_allclose(run.heading, [0.5, 0.6, np.deg2rad(30), 0.7], rtol=1e-12)
    np.testing.assert_allclose(run.x_estimate, run.x, rtol=1e-12)
    np.testing.assert_allclose(run.heading_error, 0, atol=1e-12)
    assert run.sizes["period"] == len(WALK)


@pytest.mark.parametrize(
    ("sets", "options", "words"),
    [
        ({}, {"periods": 0}, "periods is 0"),
        ({}, {"mobility": -1.0}, "mobility is -1"),
        ({}, {"mobility": np.nan}, "mobility is nan"),
        ({}, {"mobility": 1.0, "track": WALK}, "mobility and track"),
        ({}, {"weight": 1.0, "balance": 0.5}, "both given"),
        ({}, {"weight": -1.0}, "weight is -1"),
        ({}, {"balance": 1.0}, "balance is 1"),
        ({}, {"track": WALK[:, :1]}, r"shape \(4, 1\)"),
        ({}, {"track": [[1.0, np.inf]]}, "not finite"),
        ({}, {"track": [[1.0, 2.0, np.inf]]}, "not finite"),
        ({}, {"track": [[1.0, 0.0], [-2.0, 0.0]]}, r"position 2, \(-2, 0\), is behind the surface"),
        ({}, {"track": [[1e300, 0.0]]}, "position 1.*10000 m from the surface"),
        ({}, {"track": [[300.0, 0.0]], "bins": 16}, "give more bins"),
        ({"surface__bits": 1}, {}, "set phases: designed and remove bits"),
        ({"surface__phases": "random"}, {}, "set phases: designed and remove bits"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_sentence(room, sets, options, words):
    with pytest.raises(ValueError, match=words) as refusal:
        hs.run_protocol(room(**sets), **options)
    assert "\n" not in str(refusal.value)


def test_a_sensing_scenario_is_refused():
    with pytest.raises(TypeError, match="needs a localization scenario"):
        hs.run_protocol(hs.load("sensing-two-surfaces"))


# recorded walks


@given(
    st.lists(
        st.tuples(*[st.floats(-1e6, 1e6)] * 2, st.none() | st.floats(-360, 360)),
        min_size=1,
        max_size=5,
    ),
    st.permutations(["x", "y", "heading_deg", "time"]),
)
def test_a_walk_is_read_back_as_it_was_written(tmp_path_factory, places, columns):
    file = tmp_path_factory.mktemp("walk") / "walk.csv"
    lines = [", ".join(columns)]
    for x, y, heading in places:
        cells = {"x": repr(x), "y": repr(y), "time": "noon"}
        cells["heading_deg"] = "" if heading is None else repr(heading)
        lines.append(",".join(cells[column] for column in columns))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    track = read_track(file)
    headings = [np.nan if heading is None else heading for *_, heading in places]
    np.testing.assert_array_equal(track[:, :2], [place[:2] for place in places])
    np.testing.assert_allclose(np.degrees(track[:, 2]), headings, rtol=1e-12, atol=1e-300)


HEAD = st.sampled_from([b"", b"x,y\n", b"\xef\xbb\xbfx,y,heading_deg\n", b"x\n", b"y,x,x\n"])
BODY = st.binary(max_size=40) | st.text("0123456789.,-+eEnaif_ \"'\r\n\0;", max_size=40).map(
    str.encode
)


@given(HEAD, BODY)
def test_garbage_is_read_as_finite_places_or_refused_with_its_name(tmp_path_factory, head, body):
    file = tmp_path_factory.mktemp("walk") / "walk.csv"
    file.write_bytes(head + body)
    message = ""
    try:
        track = read_track(file)
    except TrackError as error:
        message = str(error)
    if message:
        assert str(file) in message
        assert "\n" not in message
    else:
        assert track.shape == (len(track), 3)
        assert len(track)
        assert np.isfinite(track[:, :2]).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must name columns x and y"),
        ("a,b\n1,2\n", "must name columns x and y"),
        ("x,y\n", "lists no position"),
        ("x,y\n1,2\n\n3,left\n", r"walk.csv: line 4: y is 'left'; write a number in meters"),
        ("x,y\n1\n", r"walk.csv: line 2: y is missing"),
        ("x,y\n1,inf\n", r"walk.csv: line 2: y is 'inf'"),
        ("x,y,heading_deg\n1,2,north\n", r"walk.csv: line 2: heading_deg is 'north'.*degrees"),
    ],
)
def test_a_broken_walk_is_refused_with_its_line(tmp_path, text, words):
    file = tmp_path / "walk.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(TrackError, match=words):
        read_track(file)
    for place in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(TrackError, match="cannot be read"):
            read_track(place)
