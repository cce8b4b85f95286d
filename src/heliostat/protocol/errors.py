"""The paper's random models of estimation errors and of the user's motion, (1) and (21)-(23).

Each trial is drawn from its own key, ``fold_in(key, trial)``, and does not depend on how trials are
split. Unit draws are scaled by the levels, so that trials at different levels are paired.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from heliostat.geometry.frames import Scalar


class ErrorLevels(eqx.Module):
    """Sizes of the errors and of the motion."""

    position: Scalar  # radius of the disc of position errors [m]
    heading: Scalar  # largest absolute heading error [rad]
    mobility: Scalar  # radius of the disc of the user's motion in one period [m]
    gain_var: Scalar  # variance of the complex error of the path gain [1]


class Errors(eqx.Module):
    """Errors of one trial, of this period and of the previous one."""

    movement: Float[Array, "2"]  # previous position of the user minus its position [m]
    previous_position: Float[Array, "2"]  # error of the previous period's estimate [m]
    position: Float[Array, "2"]  # error of this period's estimate [m]
    heading: Scalar  # heading error [rad]
    gain: Complex[Array, ""]  # error of the path gain [1]


def in_disc(key: PRNGKeyArray, radius: Scalar) -> Float[Array, "2"]:
    """A point drawn uniformly from a disc around the origin. [m]

    Args:
        key: Random key.
        radius: Radius of the disc. [m]
    """
    across, around = jax.random.uniform(key, (2,))
    angle = 2 * jnp.pi * around
    return radius * jnp.sqrt(across) * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def draw_errors(levels: ErrorLevels, key: PRNGKeyArray) -> Errors:
    r"""Draw one trial.

    Movement and position errors are uniform in discs, (1) and (21); the heading's is uniform in
    :math:`[-\epsilon_\alpha, \epsilon_\alpha]`, (22); the gain's is complex Gaussian, (23).

    Args:
        levels: Sizes of the errors.
        key: Key of the trial.
    """
    moving, before, now, turning, fading = jax.random.split(key, 5)
    return Errors(
        movement=in_disc(moving, levels.mobility),
        previous_position=in_disc(before, levels.position),
        position=in_disc(now, levels.position),
        heading=levels.heading * jax.random.uniform(turning, minval=-1.0, maxval=1.0),
        gain=jnp.sqrt(levels.gain_var) * jax.random.normal(fading, dtype=jnp.complex128),
    )
