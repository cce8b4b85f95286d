"""Scenes for tests, built without scenario files, and hypothesis strategies over them."""

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from heliostat.geometry.arrays import LinearArray, PlanarArray
from heliostat.geometry.frames import travel
from heliostat.scene.localization import (
    BaseStation,
    Frame,
    Link,
    LocalizationScene,
    PassiveSurface,
    User,
)
from heliostat.surface.passive import Phased, Steered

FOUR = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.4), (0.0, -1.4))


def real(x):
    return jnp.asarray(x, dtype=float)


def localization_scene(
    *,
    base_station=(0.0, 0.0, 40.0),
    axis=(1.0, 0.0, 0.0),
    surface=(-20.0, 20.0, 30.0),
    horizontal=(0.0, 1.0, 0.0),
    vertical=(0.0, 0.0, 1.0),
    normal=(1.0, 0.0, 0.0),
    spacing=(0.5, 0.5),
    columns=8,
    rows=8,
    reflection=1.0,
    focus=None,
    sweep=((0.0, 0.0),),
    phases=None,
    position=(20.0, 40.0, 0.0),
    heading=np.pi / 4,
    antennas=32,
    user_antennas=32,
    user_spacing=0.5,
    bandwidth=100e6,
    noise=1e-11,
    gain=1.0,
    attenuation=1.0,
    path_loss="sum_distance",
    gain_known=True,
    clock_known=True,
    period=None,
):
    """The paper's Table I unless told otherwise."""
    array = PlanarArray(
        real(horizontal), real(vertical), real(normal), real(spacing), columns, rows
    )
    direction, _ = travel(real(surface), real(position if focus is None else focus))
    cosines = array.direction_cosines(direction)
    offset = real(sweep) / real([columns, rows])[None, :]
    alignment = Steered(cosines, offset) if phases is None else Phased(real(phases))
    data = Steered(cosines, jnp.zeros((1, 2)))
    pilot, optimization = 67e-6, 1e-3
    whole = antennas * user_antennas * pilot + optimization if period is None else period
    return LocalizationScene(
        BaseStation(
            real(base_station), LinearArray(real(axis), real(0.5), antennas), real(10**-0.3)
        ),
        PassiveSurface(real(surface), array, real(reflection), alignment, data),
        User(real(position), real(heading), real(user_spacing), user_antennas),
        Link(
            real(299792458.0 / 60e9),
            real(bandwidth),
            real(noise / bandwidth),
            real(attenuation),
            jnp.asarray(gain, dtype=complex),
            path_loss,
            gain_known,
            clock_known,
        ),
        Frame(real(pilot), real(optimization), real(whole)),
    )


@st.composite
def random_scenes(draw, steered=True):
    """Random geometries with the user in front of the surface, near enough to matter."""
    number = st.floats(-1, 1, allow_nan=False, width=32)
    sides = st.sampled_from([1, 2, 5])  # few shapes: each is compiled anew
    columns, rows = draw(sides), draw(sides)
    position = (draw(number) * 15 + 17, draw(number) * 20, draw(number) * 2)
    off_focus = tuple(p + 0.5 * draw(number) for p in position)
    configurations = draw(st.sampled_from([1, 2, 4]))
    sweep = tuple((draw(number) * 1.5, draw(number) * 1.5) for _ in range(configurations))
    phases = None
    if not steered:
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        phases = rng.uniform(-np.pi, np.pi, (configurations, columns * rows))
    turn = draw(st.floats(0, 2 * np.pi))
    return localization_scene(
        base_station=(draw(number) * 10 + 15, draw(number) * 20, draw(number) * 5 + 10),
        surface=(0.0, draw(number) * 3, draw(number) * 3 + 5),
        spacing=(0.5 + 0.2 * draw(number), 0.5 + 0.2 * draw(number)),
        columns=columns,
        rows=rows,
        reflection=0.75 + 0.25 * draw(number),
        focus=off_focus,
        sweep=sweep,
        phases=phases,
        position=position,
        heading=draw(st.floats(0, 2 * np.pi)),
        antennas=draw(st.sampled_from([1, 4, 7])),
        user_antennas=draw(st.sampled_from([1, 2, 5])),
        user_spacing=0.5 + 0.2 * draw(number),
        bandwidth=10.0 ** draw(st.floats(6, 9)),
        gain=np.exp(1j * turn),
        path_loss=draw(st.sampled_from(["sum_distance", "product"])),
        gain_known=draw(st.booleans()),
        clock_known=draw(st.booleans()),
        period=0.1,
    )
