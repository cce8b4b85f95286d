"""Build the scene of a sensing scenario; needs JAX."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from heliostat.channel.fading import line_of_sight, rician
from heliostat.channel.path_loss import exponent_law, radar_equation
from heliostat.geometry.frames import Scalar, Vector, travel
from heliostat.scenario.arrays import built_station, planar_array, real
from heliostat.scenario.errors import Problem, ScenarioError
from heliostat.scenario.random_keys import purpose_key
from heliostat.scenario.sensing.schema import ActiveSurfaceSpec, SensingSections
from heliostat.scene.localization import BaseStation
from heliostat.scene.sensing import SensingScene, Target
from heliostat.surface.active import ActiveSurface, passive_surface
from heliostat.units import quote


def sensing_scene(scenario: SensingSections, key: PRNGKeyArray | None) -> SensingScene:
    r"""Build the scene of a scenario, in SI units and double precision.

    Each surface's channel has its own key, so that adding a surface leaves the other channels
    unchanged. The gain :math:`\beta_l` has the modulus of the radar equation and a random phase;
    bounds do not depend on the phase.

    Args:
        scenario: The checked sections of a scenario.
        key: Random key of channels and phases; default ``link.seed``.

    Raises:
        ScenarioError: The channel file was removed or changed since the scenario was loaded.
    """
    root = scenario.link.seed if key is None else key
    written = scenario.base_station
    base_station = built_station(written)
    surfaces = tuple(_surface(surface) for surface in scenario.surfaces)
    target = Target(real(scenario.target.position))
    bs_to_irs, target_gain = _channels(scenario, root, base_station, surfaces)
    if target_gain is None:
        target_gain = _target_gain(scenario, root, surfaces, target)
    return SensingScene(
        base_station=base_station,
        surfaces=surfaces,
        target=target,
        bs_to_irs=bs_to_irs,
        target_gain=target_gain,
        noise=real(written.noise),
        symbols=real(scenario.dwell.symbols),
    )


def _surface(surface: ActiveSurfaceSpec) -> ActiveSurface:
    position = real(surface.position)
    array = planar_array(surface)
    if surface.passive:
        return passive_surface(position, array)
    return ActiveSurface(
        position,
        array,
        amplification=real(surface.amplification),
        power=real(surface.power),
        noise=real(surface.noise),
    )


def _channels(
    scenario: SensingSections,
    root: int | PRNGKeyArray,
    base_station: BaseStation,
    surfaces: tuple[ActiveSurface, ...],
) -> tuple[tuple[Complex[Array, "_ tx"], ...], Complex[Array, "surface"] | None]:
    """Channels to every surface, and the target's gains if a file contains them."""
    link = scenario.link
    if link.channels is not None:
        antennas = base_station.array.elements
        try:
            found = link.imported(scenario.folder, scenario.elements, antennas)
        except ValueError as error:
            value = quote(link.channels)
            problem = Problem(scenario.name, "link.channels", value, str(error))
            raise ScenarioError([problem]) from error
        return found.bs_to_irs, found.target_gain
    channels = tuple(
        _channel(
            purpose_key(root, "channel", i),
            base_station,
            surface,
            real(scenario.base_station.antenna_gain * written.gain),
            real(scenario.reference_loss),
            real(scenario.exponent),
            real(link.rician),
        )
        for i, (surface, written) in enumerate(zip(surfaces, scenario.surfaces, strict=True))
    )
    return channels, None


# Compiled, because each operation outside `jax.jit` is a program of its own, which takes several
# milliseconds to load.
@jax.jit
def _channel(
    key: PRNGKeyArray,
    base_station: BaseStation,
    surface: ActiveSurface,
    gains: Scalar,
    loss: Scalar,
    exponent: Scalar,
    rician_factor: Scalar,
) -> Complex[Array, "_ tx"]:
    _, distance = travel(base_station.position, surface.position)
    specular = line_of_sight(
        base_station.position, base_station.array, surface.position, surface.array
    )
    amplitude = jnp.sqrt(gains) * exponent_law(distance, loss, exponent)
    return rician(key, specular, rician_factor, amplitude)


def _target_gain(
    scenario: SensingSections,
    root: int | PRNGKeyArray,
    surfaces: tuple[ActiveSurface, ...],
    target: Target,
) -> Complex[Array, "surface"]:
    return _radar_gain(
        purpose_key(root, "target gain phase"),
        tuple(surface.position for surface in surfaces),
        target.position,
        real([surface.gain for surface in scenario.surfaces]),
        real(scenario.reference_loss),
        real(scenario.target.cross_section),
    )


@jax.jit
def _radar_gain(
    key: PRNGKeyArray,
    surfaces: tuple[Vector, ...],
    target: Vector,
    gains: Float[Array, "surface"],
    loss: Scalar,
    cross_section: Scalar,
) -> Complex[Array, "surface"]:
    distances = [travel(surface, target)[1] for surface in surfaces]
    modulus = gains * jnp.stack([radar_equation(d, loss, cross_section) for d in distances])
    phase = jax.random.uniform(key, modulus.shape, minval=-jnp.pi, maxval=jnp.pi)
    return modulus * jnp.exp(1j * phase)


def moved_target(scene: SensingScene, position: Vector) -> SensingScene:
    r"""Return the scene with the target at another position.

    By the radar equation the gain amplitude is inversely proportional to the square of the distance
    between surface and target, so :math:`\beta_l' = \beta_l (d_l / d_l')^2`. The phases do not
    change; bounds do not depend on them. Gains from a file are taken as those at the target's
    position in the scenario.

    Args:
        scene: The scene of a scenario.
        position: New position of the target. [m]
    """

    def distances(place: Vector) -> Float[Array, "surface"]:
        return jnp.stack([travel(surface.position, place)[1] for surface in scene.surfaces])

    nearer = distances(scene.target.position) / distances(position)
    return scene.with_target(position, scene.target_gain * nearer**2)
