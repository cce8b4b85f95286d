"""The paper's models of what an estimate and a moving user are off by, (1) and (21)-(23).

Each trial is drawn from its own key, ``fold_in(key, trial)``, and is the same however trials are
split. Unit draws are scaled by the levels, so that trials at different levels are paired.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from heliostat.geometry.frames import Scalar


class ErrorLevels(eqx.Module):
    """How large the errors are."""

    position: Scalar  # radius of the disc the estimate falls in [m]
    heading: Scalar  # largest heading error, to either side [rad]
    mobility: Scalar  # radius of the disc the user moves in from period to period [m]
    gain_var: Scalar  # variance of the error of the path gain, both real dimensions together [1]


class Errors(eqx.Module):
    """One trial: what estimates are off by in this period and the one before."""

    movement: Float[Array, "2"]  # where the user was one period ago, less where it is [m]
    previous_position: Float[Array, "2"]  # error of the last period's estimate [m]
    position: Float[Array, "2"]  # error of this period's estimate [m]
    heading: Scalar  # [rad]
    gain: Complex[Array, ""]  # of the path gain [1]


def in_disc(key: PRNGKeyArray, radius: Scalar) -> Float[Array, "2"]:
    """A point drawn uniformly from a disc around the origin. [m]

    Args:
        key: Random key.
        radius: [m]
    """
    across, around = jax.random.uniform(key, (2,))
    angle = 2 * jnp.pi * around
    return radius * jnp.sqrt(across) * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def draw_errors(levels: ErrorLevels, key: PRNGKeyArray) -> Errors:
    r"""Draw one trial.

    Movement and position errors are uniform in discs, (1) and (21); the heading's is uniform in
    :math:`[-\epsilon_\alpha, \epsilon_\alpha]`, (22); the gain's is complex Gaussian, (23).

    Args:
        levels: How large.
        key: The trial's own key.
    """
    moving, before, now, turning, fading = jax.random.split(key, 5)
    return Errors(
        movement=in_disc(moving, levels.mobility),
        previous_position=in_disc(before, levels.position),
        position=in_disc(now, levels.position),
        heading=levels.heading * jax.random.uniform(turning, minval=-1.0, maxval=1.0),
        gain=jnp.sqrt(levels.gain_var) * jax.random.normal(fading, dtype=jnp.complex128),
    )
