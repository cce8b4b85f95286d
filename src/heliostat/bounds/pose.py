r"""Bounds on a user's position and heading (PEB, REB), from the definition and in closed form.

`pose_information` and `pose_information_by_definition` return the same information. The first costs
O(1) per position: for orthonormal codebooks the sum over all beam pairs is a product of two
constants, and the derivative of the user array's response splits into a component along the
response and an orthogonal one. The second differentiates the pilot model and sums over all beam
pairs.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from heliostat.bounds.fisher import (
    SINGULAR,
    change_parameters,
    eliminate_nuisance,
    slepian_bangs,
)
from heliostat.geometry.frames import Scalar, travel, user_axis
from heliostat.observation.pilots import (
    band_nodes,
    channel_params,
    pilot_mean,
    unknowns_at,
)
from heliostat.scene.localization import LocalizationScene
from heliostat.surface.passive import surface_response
from heliostat.units import SPEED_OF_LIGHT

POSE = ("x", "y", "heading")


class PoseInformation(eqx.Module):
    """Fisher information about (x, y, heading), and its reference for `identify`."""

    information: Float[Array, "pose pose"]  # nuisances eliminated [m⁻²], [m⁻¹rad⁻¹], [rad⁻²]
    reference: Float[Array, "pose"]
    """Information if the other channel parameters were known, for the heading at broadside: the
    scale on which a direction is not identifiable. [m⁻², m⁻², rad⁻²]"""


def pose_information(scene: LocalizationScene, active_antennas: int | Scalar) -> PoseInformation:
    r"""Fisher information of the pose in closed form, O(1) for steered surfaces, O(N) for phases.

    With :math:`E = 2PT_s|\tilde h|^2N_B/N_0`, the response :math:`s_k` of configuration k and its
    derivatives :math:`s_{k,j}` with respect to the departure cosines :math:`\psi_j`,

    .. math::
       J_{il} = \frac{E}{K}\sum_k\Big[N_M\,\mathrm{Re}(D_{ik}^*D_{lk})
         + |s_k|^2\big(V\,\partial_i\psi\,\partial_l\psi
         + N_M\tfrac{\pi^2B^2}{3c^2}\,\partial_id\,\partial_ld\big)\Big],

    where :math:`D_{ik} = (j\kappa\tfrac{N_M-1}{2}\partial_i\psi + \partial_i\ln|\tilde h|)s_k +
    \sum_j\partial_i\psi_j\,s_{k,j}`, :math:`V = \kappa^2N_M(N_M^2-1)/12`, :math:`\kappa = 2\pi`
    times the user's spacing and :math:`\psi` its arrival cosine. If the gain is unknown, D is
    replaced by its component orthogonal to s; if the clock is unknown, the last term is zero.

    Args:
        scene: The scene; the bound is for its user.
        active_antennas: :math:`N_B`; may be traced.

    Equals paper eqs. (31), (36) with (112)-(128), except: 2/N0 for 1/N0, the sign of (117), and
    direction cosines for the angles of (9)-(11). See ``docs/theory/localization.md``.
    """
    return information_through(scene, active_antennas, *alignment_response(scene))


def alignment_response(
    scene: LocalizationScene,
) -> tuple[Complex[Array, "config"], Complex[Array, "config 2"]]:
    """Response of the surface towards the user in the alignment stage, and its derivatives. [1]"""
    surface = scene.surface
    departure = scene.departure(scene.user.position)
    return surface_response(
        surface.array, surface.reflection, surface.alignment, scene.arrival(), departure
    )


def information_through(
    scene: LocalizationScene,
    active_antennas: int | Scalar,
    response: Complex[Array, "config"],
    response_slope: Complex[Array, "config 2"],
) -> PoseInformation:
    """`pose_information` for a given response of the surface.

    Args:
        scene: The scene.
        active_antennas: :math:`N_B`; may be traced.
        response: See `alignment_response`.
        response_slope: Derivatives of the response, see `alignment_response`.
    """
    user, link, surface = scene.user, scene.link, scene.surface
    direction, distance = travel(surface.position, user.position)
    axis = user_axis(user.heading)
    departure = surface.array.direction_cosines(direction)
    arrival = jnp.dot(direction, axis)

    # Derivatives with respect to x, y and heading as single numbers: over a batch of positions XLA
    # vectorizes arithmetic on them, while a batch of 3x3 products is many times slower.
    panel = (surface.array.horizontal, surface.array.vertical)
    turned = user_axis(user.heading + jnp.pi / 2)
    distance_slope = [direction[0], direction[1], jnp.zeros(())]
    arrival_slope = [(axis[i] - arrival * direction[i]) / distance for i in (0, 1)]
    arrival_slope += [jnp.dot(direction, turned)]
    departure_slope = [
        [(side[i] - cosine * direction[i]) / distance for i in (0, 1)]
        for side, cosine in zip(panel, (departure[0], departure[1]), strict=True)
    ]
    amplitude = scene.path_amplitude(distance)
    decay = jax.grad(scene.path_amplitude)(distance) / amplitude

    power = _inner(response, response)
    receive = 2 * jnp.pi * user.spacing
    antennas = jnp.asarray(user.antennas, dtype=float)
    derivative = [
        response_slope[:, 0] * departure_slope[0][i] + response_slope[:, 1] * departure_slope[1][i]
        for i in (0, 1)
    ]
    derivative += [jnp.zeros_like(response)]
    if link.gain_known:
        lag = receive * (antennas - 1) / 2
        for i in range(3):
            along = jax.lax.complex(decay * distance_slope[i], lag * arrival_slope[i])
            derivative[i] = derivative[i] + response * along
    else:
        for i in (0, 1):
            overlap = jnp.sum(jnp.conj(response) * derivative[i]) / jnp.where(power > 0, power, 1.0)
            derivative[i] = derivative[i] - response * overlap
    centered = receive**2 * antennas * (antennas**2 - 1) / 12
    ranging = antennas * (jnp.pi * link.bandwidth / SPEED_OF_LIGHT) ** 2 / 3

    gain_power = (jnp.abs(surface.gain) * amplitude) ** 2
    energy = scene.base_station.power * scene.frame.pilot * gain_power * active_antennas
    share = 2 * energy / (link.noise_density * response.size)

    def entry(i: int, j: int) -> Scalar:
        seen = power * centered * arrival_slope[i] * arrival_slope[j]
        if link.clock_known:
            seen = seen + power * ranging * distance_slope[i] * distance_slope[j]
        return share * (antennas * _inner(derivative[i], derivative[j]) + seen)

    upper = {(i, j): entry(i, j) for i in range(3) for j in range(i, 3)}
    rows = [jnp.stack([upper[min(i, j), max(i, j)] for j in range(3)]) for i in range(3)]

    corner = power * receive**2 * antennas * (antennas - 1) * (2 * antennas - 1) / 6
    level = direction[0] ** 2 + direction[1] ** 2
    to_position = corner * (arrival_slope[0] ** 2 + arrival_slope[1] ** 2)
    to_position += power * level * (ranging + antennas * decay**2)
    for side in (0, 1):
        slope, cosines = response_slope[:, side], departure_slope[side]
        to_position += antennas * _inner(slope, slope) * (cosines[0] ** 2 + cosines[1] ** 2)
    reference = share * jnp.stack([to_position, to_position, corner])
    return PoseInformation(jnp.stack(rows), reference)


def _inner(left: Complex[Array, "config"], right: Complex[Array, "config"]) -> Scalar:
    """Real part of the inner product."""
    return jnp.sum(left.real * right.real + left.imag * right.imag)


def pose_information_by_definition(
    scene: LocalizationScene, active_antennas: int
) -> PoseInformation:
    r"""`pose_information` from the definition: the Slepian-Bangs formula summed over all beam
    pairs, :math:`J_g = T J_\eta T^T`, and elimination of the nuisance parameters.

    Paper eqs. (28)-(31) with 2/N0.

    Args:
        scene: The scene; the bound is for its user.
        active_antennas: :math:`N_B`, the number of transmit beams.
    """
    unknowns = unknowns_at(scene)
    channel = channel_params(scene, unknowns)
    nodes = band_nodes(scene.link.bandwidth)

    def samples(params: Float[Array, "param"]) -> Array:
        return pilot_mean(scene, params, active_antennas, nodes).ravel()

    channel_information = slepian_bangs(jax.jacfwd(samples)(channel), scene.link.noise_density)
    jacobian = jax.jacfwd(lambda u: channel_params(scene, u))(unknowns).T
    unknown = [True, True, True]
    unknown += [not scene.link.gain_known] * 2 + [not scene.link.clock_known]
    kept = jnp.array([i for i, is_unknown in enumerate(unknown) if is_unknown])
    information = change_parameters(channel_information, jacobian[kept])

    alone = jnp.diagonal(channel_information)
    position_slope = jnp.sum(jacobian[:2] ** 2, axis=0)
    reference = jnp.stack([alone @ position_slope, alone @ position_slope, alone[1]])
    return PoseInformation(eliminate_nuisance(information, 3), reference)


def error_bounds(pose: PoseInformation) -> tuple[Scalar, Scalar]:
    r"""PEB [m] and REB [rad] in closed form; ``inf`` where no bound exists, never NaN.

    The heading is eliminated first. Where it is not identifiable (the user's array points at the
    surface), the PEB is the limit from nearby headings, in which the arrival angle gives no
    information about the position. Paper eqs. (32), (33).
    """
    seen = pose.reference > 0
    scale = jnp.where(seen, jax.lax.rsqrt(jnp.where(seen, pose.reference, 1.0)), 0.0)
    scaled = pose.information * scale[:, None] * scale[None, :]
    heading = scaled[2, 2]
    heading_seen = heading > SINGULAR
    # The heading is eliminated even if it is nearly unidentifiable: treating it as known there
    # would make the PEB discontinuous.
    slope = jnp.where(heading > 0, scaled[:2, 2] / jnp.where(heading > 0, heading, 1.0), 0.0)
    xx = scaled[0, 0] - scaled[0, 2] * slope[0]
    yy = scaled[1, 1] - scaled[1, 2] * slope[1]
    xy = scaled[0, 1] - scaled[0, 2] * slope[1]
    half_sum, half_difference = (xx + yy) / 2, (xx - yy) / 2
    large = half_sum + jnp.sqrt(half_difference**2 + xy**2)
    determinant = xx * yy - xy**2
    one = large > SINGULAR
    both = one & (determinant > SINGULAR * large)
    safe = jnp.where(both, determinant, 1.0)
    peb = jnp.where(both, scale[0] * jnp.sqrt(jnp.where(both, xx + yy, 1.0) / safe), jnp.inf)

    # If one direction of the position is not identifiable, the heading has a bound only if its
    # estimate does not depend on that direction.
    quadratic = yy * slope[0] ** 2 - 2 * xy * slope[0] * slope[1] + xx * slope[1] ** 2
    leaning = jnp.where(one, quadratic / jnp.where(one, large, 1.0), jnp.sum(slope**2))
    through_position = jnp.where(
        both,
        quadratic / safe,
        jnp.where(leaning > SINGULAR, jnp.inf, jnp.sum(slope**2) / jnp.where(one, large, 1.0)),
    )
    heading_var = 1 / jnp.where(heading_seen, heading, 1.0) + through_position
    reb = jnp.where(heading_seen, scale[2] * jnp.sqrt(heading_var), jnp.inf)
    return peb, reb
