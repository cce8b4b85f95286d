"""Scenes for tests, built without scenario files, and hypothesis strategies over them."""

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from heliostat.channel.path_loss import LAWS
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
    wavelength = 299792458.0 / 60e9
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
        (
            PassiveSurface(
                real(surface),
                array,
                real(reflection),
                alignment,
                data,
                real(spacing[0] * spacing[1] * wavelength**2),
                jnp.asarray(gain, dtype=complex),
                real([1.0]),
            ),
        ),
        User(real(position), real(heading), real(user_spacing), user_antennas),
        Link(
            real(wavelength),
            real(bandwidth),
            real(noise / bandwidth),
            real(attenuation),
            LAWS[path_loss],
            gain_known,
            clock_known,
        ),
        Frame(real(pilot), real(optimization), real(whole)),
    )


STATIC_CASES = (
    # columns, rows, configurations, antennas, user antennas, path loss, gain known, clock known
    (5, 2, 1, 4, 5, "sum_distance", True, True),
    (2, 5, 4, 7, 2, "product", False, True),
    (1, 1, 2, 1, 1, "product", True, False),
    (5, 1, 4, 7, 5, "sum_distance", False, False),
)
"""Sizes and flags that are static to the compiler: each combination is traced anew."""


@st.composite
def random_scenes(draw, steered=True):
    """Random geometries with the user in front of the surface, near enough to matter."""
    number = st.floats(-1, 1, allow_nan=False, width=32)
    static = draw(st.sampled_from(STATIC_CASES))
    columns, rows, configurations, antennas, user_antennas, path_loss, *known = static
    position = (draw(number) * 15 + 17, draw(number) * 20, draw(number) * 2)
    off_focus = tuple(p + 0.5 * draw(number) for p in position)
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
        antennas=antennas,
        user_antennas=user_antennas,
        user_spacing=0.5 + 0.2 * draw(number),
        bandwidth=10.0 ** draw(st.floats(6, 9)),
        gain=np.exp(1j * turn),
        path_loss=path_loss,
        gain_known=known[0],
        clock_known=known[1],
        period=0.1,
    )
