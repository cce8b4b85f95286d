"""Build the scene of a localization scenario; requires JAX.

Numbers are computed with NumPy, and random draws are compiled: each ``jax.numpy`` operation outside
``jax.jit`` would be a separate program, which takes several milliseconds to load.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, PRNGKeyArray

from heliostat.channel.path_loss import LAWS
from heliostat.scenario.arrays import built_station, planar_array, real
from heliostat.scenario.errors import Problem, ScenarioError
from heliostat.scenario.localization.schema import LocalizationSections
from heliostat.scenario.localization.visibility import visible_paths
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
    antenna_gain = math.sqrt(base_station.antenna_gain * user.antenna_gain)
    direct = None
    if scenario.direct != "blocked":
        direct = scene.DirectPath(
            attenuation=real(link.direct_attenuation * antenna_gain),
            gain=_path_gain(scenario, purpose_key(root, "further path")),
        )
    built = scene.LocalizationScene(
        base_station=built_station(base_station),
        surfaces=tuple(
            _surface(scenario, i, _surface_root(root, i)) for i in range(len(scenario.panels))
        ),
        user=scene.User(
            position=real(user.position),
            heading=real(user.heading),
            spacing=real(user.spacing),
            antennas=user.antennas,
        ),
        link=scene.Link(
            wavelength=real(scenario.wavelength),
            bandwidth=real(scenario.carrier.bandwidth),
            noise_density=real(link.noise / scenario.carrier.bandwidth),
            attenuation=real(link.attenuation * antenna_gain),
            path_loss=scenario.path_loss or LAWS[link.path_loss],
            gain_known=scenario.model.gain == "known",
            clock_known=scenario.model.clock == "synchronized",
        ),
        frame=scene.Frame(
            pilot=real(scenario.frame.pilot),
            optimization=real(scenario.frame.optimization),
            period=real(scenario.period),
        ),
        direct=direct,
    )
    surfaces = tuple(
        each if panel.bits is None else built.through(i).quantized(panel.bits).surface
        for i, (each, panel) in enumerate(zip(built.surfaces, scenario.panels, strict=True))
    )
    built = eqx.tree_at(lambda s: s.surfaces, built, surfaces)
    if scenario.obstacles:
        seen = visible_paths(scenario, np.array([user.position], dtype=float))[0]
        built = built.with_gains(built.gains() * real(seen))
    return built


@jax.jit
def _random_gain(key: PRNGKeyArray) -> Complex[Array, ""]:
    return jnp.exp(1j * jax.random.uniform(key, maxval=2 * jnp.pi))


def _surface_root(root: int | PRNGKeyArray, index: int) -> int | PRNGKeyArray:
    """Return the key of the random phases and of the gain of a surface."""
    return root if index == 0 else purpose_key(root, "further path", index)


def surface_gain(scenario: LocalizationSections, index: int) -> Complex[Array, ""]:
    """Return the gain of the path through a surface without path loss, of modulus 1. [1]

    Args:
        scenario: The checked sections of a scenario; ``link.seed`` is the random key.
        index: Index of the surface, which may be beyond those of the scenario.
    """
    return _path_gain(scenario, _surface_root(scenario.link.seed, index))


def _path_gain(scenario: LocalizationSections, root: int | PRNGKeyArray) -> jax.Array:
    """Return the gain of a path without path loss, of modulus 1. [1]"""
    phase = scenario.link.gain_phase
    if isinstance(phase, float):
        return jax.device_put(np.exp(1j * phase))
    return _random_gain(purpose_key(root, "path gain phase"))


def _surface(
    scenario: LocalizationSections, index: int, root: int | PRNGKeyArray
) -> scene.PassiveSurface:
    """Build one surface; its random phases and gain are drawn with the root key."""
    surface, spherical = scenario.panels[index], scenario.spherical[index]
    position = real(surface.position)
    array = planar_array(surface)
    try:
        listed = surface.listed_phases(scenario.folder)
    except ValueError as error:
        field = f"{scenario.panel_keys[index]}.phases"
        problem = Problem(scenario.name, field, quote(surface.phases), str(error))
        raise ScenarioError([problem]) from error

    length, sweep = scenario.code_length, scenario.sweep_of(surface)
    alignment: passive.Configurations
    data: passive.Configurations
    if listed is not None:
        alignment, data = passive.Phased(real(listed)), passive.Phased(real(listed[:1]))
    elif surface.phases == "random":
        count, elements = len(sweep), array.elements
        alignment_key = purpose_key(root, "alignment phases")
        alignment = passive.Phased(passive.random_phases(alignment_key, count, elements))
        data = passive.Phased(passive.random_phases(purpose_key(root, "data phases"), 1, elements))
    else:
        target = surface.focus or scenario.user.position
        offset = real(np.divide(sweep, [[surface.columns, surface.rows]]))
        still = real(np.zeros((1, 2)))
        if spherical:
            alignment = passive.Focused(real(target), offset)
            data = passive.Focused(real(target), still)
        else:
            towards = np.subtract(target, surface.position)
            focus = real(surface.axes[:2] @ (towards / np.linalg.norm(towards)))
            alignment, data = passive.Steered(focus, offset), passive.Steered(focus, still)
    row = (index + (scenario.direct != "blocked")) % length
    signs = [(-1.0) ** (row & i).bit_count() for i in range(length)]  # of a Hadamard matrix
    return scene.PassiveSurface(
        position=position,
        array=array,
        reflection=real(surface.reflection),
        alignment=alignment,
        data=data,
        element_area=real(surface.gain * scenario.wavelength**2 / (4 * math.pi)),
        gain=_path_gain(scenario, root),
        code=real(signs),
        spherical=spherical,
    )
