"""Build the scene of a localization scenario; needs JAX.

Sums of given numbers are NumPy's, and draws are compiled: each operation of ``jax.numpy`` outside
``jax.jit`` is a program of its own, which takes several milliseconds to load.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, PRNGKeyArray

from heliostat.channel.path_loss import LAWS
from heliostat.geometry.arrays import LinearArray, PlanarArray
from heliostat.geometry.frames import travel
from heliostat.scenario.errors import Problem, ScenarioError
from heliostat.scenario.localization.schema import LocalizationSections
from heliostat.scenario.random_keys import purpose_key
from heliostat.scene import localization as scene
from heliostat.surface import passive
from heliostat.units import quote


def localization_scene(
    scenario: LocalizationSections, key: PRNGKeyArray | None
) -> scene.LocalizationScene:
    """Build the scene of a scenario, in SI units and double precision.

    Args:
        scenario: The checked sections of a scenario.
        key: Random key of surface phases and gain phase; default ``link.seed``.

    Raises:
        ScenarioError: The phase file was removed or changed since the scenario was loaded.
    """
    root = scenario.link.seed if key is None else key
    base_station, user, link = scenario.base_station, scenario.user, scenario.link
    if isinstance(link.gain_phase, float):
        gain = jax.device_put(np.exp(1j * link.gain_phase))
    else:
        gain = _random_gain(purpose_key(root, "path gain phase"))
    return scene.LocalizationScene(
        base_station=scene.BaseStation(
            position=_real(base_station.position),
            array=LinearArray(
                axis=_real(base_station.axis),
                spacing=_real(base_station.spacing),
                elements=base_station.antennas,
            ),
            power=_real(base_station.power),
        ),
        surface=_surface(scenario, root),
        user=scene.User(
            position=_real(user.position),
            heading=_real(user.heading),
            spacing=_real(user.spacing),
            antennas=user.antennas,
        ),
        link=scene.Link(
            wavelength=_real(scenario.wavelength),
            bandwidth=_real(scenario.carrier.bandwidth),
            noise_density=_real(link.noise / scenario.carrier.bandwidth),
            attenuation=_real(
                link.attenuation * math.sqrt(base_station.antenna_gain * user.antenna_gain)
            ),
            gain=gain,
            path_loss=scenario.path_loss or LAWS[link.path_loss],
            gain_known=scenario.model.gain == "known",
            clock_known=scenario.model.clock == "synchronized",
        ),
        frame=scene.Frame(
            pilot=_real(scenario.frame.pilot),
            optimization=_real(scenario.frame.optimization),
            period=_real(scenario.period),
        ),
    )


def _real(value: Any) -> jax.Array:
    return jax.device_put(np.asarray(value, dtype=float))


@jax.jit
def _random_gain(key: PRNGKeyArray) -> Complex[Array, ""]:
    return jnp.exp(1j * jax.random.uniform(key, maxval=2 * jnp.pi))


def _surface(scenario: LocalizationSections, root: int | PRNGKeyArray) -> scene.PassiveSurface:
    surface, position = scenario.surface, _real(scenario.surface.position)
    array = PlanarArray(
        horizontal=_real(surface.axes[0]),
        vertical=_real(surface.axes[1]),
        normal=_real(surface.axes[2]),
        spacing=_real(surface.spacing),
        columns=surface.columns,
        rows=surface.rows,
    )
    try:
        listed = surface.listed_phases(scenario.folder)
    except ValueError as error:
        problem = Problem(scenario.name, "surface.phases", quote(surface.phases), str(error))
        raise ScenarioError([problem]) from error

    alignment: passive.Configurations
    data: passive.Configurations
    if listed is not None:
        alignment, data = passive.Phased(_real(listed)), passive.Phased(_real(listed[:1]))
    elif surface.phases == "random":
        count, elements = len(scenario.sweep), array.elements
        alignment_key = purpose_key(root, "alignment phases")
        alignment = passive.Phased(passive.random_phases(alignment_key, count, elements))
        data = passive.Phased(passive.random_phases(purpose_key(root, "data phases"), 1, elements))
    else:
        towards = np.subtract(surface.focus or scenario.user.position, surface.position)
        focus = _real(surface.axes[:2] @ (towards / np.linalg.norm(towards)))
        offset = _real(np.divide(scenario.sweep, [[surface.columns, surface.rows]]))
        alignment = passive.Steered(focus=focus, offset=offset)
        data = passive.Steered(focus=focus, offset=_real(np.zeros((1, 2))))

    if surface.bits is not None:
        along, _ = travel(_real(scenario.base_station.position), position)
        arrival, bits = array.direction_cosines(along), surface.bits
        alignment, data = (
            passive.quantised_configurations(array, arrival, each, bits)
            for each in (alignment, data)
        )
    return scene.PassiveSurface(
        position=position,
        array=array,
        reflection=_real(surface.reflection),
        alignment=alignment,
        data=data,
        element_area=_real(surface.gain * scenario.wavelength**2 / (4 * math.pi)),
    )
