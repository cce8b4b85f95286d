"""Scenes with several paths for tests, built without scenario files."""

import jax.numpy as jnp
import numpy as np

from heliostat.channel.path_loss import LAWS
from heliostat.geometry.arrays import LinearArray, PlanarArray
from heliostat.geometry.frames import travel
from heliostat.scene.localization import (
    BaseStation,
    DirectPath,
    Frame,
    Link,
    LocalizationScene,
    PassiveSurface,
    User,
)
from heliostat.surface.passive import Focused, Phased, Steered
from tests.support.scenes import FOUR, real

HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
"""Sign codes of four paths."""
PLACES = (
    # position, horizontal, normal
    ((0.0, 12.0, 4.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
    ((-9.0, 2.0, 5.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    ((11.0, 3.0, 6.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)),
)
"""Surfaces on three walls of a yard."""


def yard(
    *,
    surfaces=1,
    direct=False,
    sweep=FOUR,
    codes=None,
    columns=6,
    rows=5,
    wavelength=299792458.0 / 28e9,
    spherical=False,
    phases=None,
    position=(1.5, 5.0, 1.2),
    heading=0.4,
    antennas=8,
    user_antennas=8,
    bandwidth=100e6,
    noise=1e-12,
    gain_known=False,
    clock_known=True,
    path_loss="product",
    seed=0,
):
    """A yard with surfaces on its walls; gains of random phase."""
    rng = np.random.default_rng(seed)
    gains = np.exp(2j * np.pi * rng.random(4))
    user = real(position)
    panels = []
    for i in range(surfaces):
        at, horizontal, normal = (real(x) for x in PLACES[i])
        array = PlanarArray(horizontal, real([0, 0, 1]), normal, real([0.5, 0.5]), columns, rows)
        off = real(sweep) / real([[columns, rows]])
        code = jnp.ones(1)
        if codes is not None:
            code = real(codes[i + direct])
        near = user + real([0.1, -0.2, 0.05])
        if phases is not None:
            alignment = Phased(real(phases[i]))
        elif spherical:
            alignment = Focused(near, off)
        else:
            cosines = array.direction_cosines(travel(at, near)[0])
            alignment = Steered(cosines, off)
        data = (
            Focused(user, jnp.zeros((1, 2)))
            if spherical
            else Steered(array.direction_cosines(travel(at, user)[0]), jnp.zeros((1, 2)))
        )
        panels.append(
            PassiveSurface(
                at,
                array,
                real(0.9),
                alignment,
                data,
                real(0.25 * wavelength**2),
                jnp.asarray(gains[i + 1]),
                code,
                spherical,
            )
        )
    return LocalizationScene(
        BaseStation(
            real([2.0, -9.0, 8.0]), LinearArray(real([1, 0, 0]), real(0.5), antennas), real(0.5)
        ),
        tuple(panels),
        User(user, real(heading), real(0.5), user_antennas),
        Link(
            real(wavelength),
            real(bandwidth),
            real(noise / bandwidth),
            real(0.8),
            LAWS[path_loss],
            gain_known,
            clock_known,
        ),
        Frame(real(67e-6), real(1e-3), real(0.1)),
        DirectPath(real(0.3), jnp.asarray(gains[0])) if direct else None,
    )
