r"""Passive surfaces: configurations of unit-modulus coefficients, and their response.

For one direction of arrival and one of departure, the response of a surface with the coefficients
:math:`\theta_i = e^{j\vartheta_i}` and the reflection amplitude :math:`\delta` is

.. math:: s = \delta \sum_i \theta_i\, a_i(\psi^{in})\, a_i^*(\psi^{out}),

paper eq. (34). Bounds depend on it and on its derivatives with respect to :math:`\psi^{out}` only.
"""

from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from heliostat.geometry.arrays import PlanarArray, dirichlet, linear_steering, planar_steering
from heliostat.geometry.frames import Vector


class Steered(eqx.Module):
    """Configurations steered to a focus by plane waves, each with an offset."""

    focus: Float[Array, "2"]  # direction cosines of the focus seen from the surface [1]
    offset: Float[Array, "config 2"]  # added to the focus, one row per configuration [1]

    @property
    def count(self) -> int:
        """Number of configurations."""
        return self.offset.shape[0]


class Focused(eqx.Module):
    """Configurations focused on a position by spherical waves, each with an offset."""

    focus: Vector  # [m]
    offset: Float[Array, "config 2"]  # added steering, in direction cosines [1]

    @property
    def count(self) -> int:
        """Number of configurations."""
        return self.offset.shape[0]


class Phased(eqx.Module):
    """Configurations given by their phases."""

    phase: Float[Array, "config element"]  # [rad]

    @property
    def count(self) -> int:
        """Number of configurations."""
        return self.phase.shape[0]


Configurations: TypeAlias = Steered | Focused | Phased


def focused_phases(
    array: PlanarArray, arrival: Float[Array, "2"], departure: Float[Array, "2"]
) -> Float[Array, "element"]:
    r"""Phases with which all elements' waves add in phase at ``departure``, not wrapped. [rad]

    :math:`\theta = a(\psi^{out}) \odot a^*(\psi^{in})`, paper eqs. (35) and (41). The amplitude
    :math:`\delta` is not printed there; here it is a factor of the response.
    """
    step = 2 * jnp.pi * array.spacing * (departure - arrival)
    along_row, along_column = jnp.arange(array.columns), jnp.arange(array.rows)
    return (step[1] * along_column[:, None] + step[0] * along_row[None, :]).ravel()


def random_phases(
    key: PRNGKeyArray, configurations: int, elements: int
) -> Float[Array, "config element"]:
    """Phases from a uniform distribution on [-pi, pi), as for the paper's Fig. 7. [rad]"""
    return jax.random.uniform(key, (configurations, elements), minval=-jnp.pi, maxval=jnp.pi)


def quantized(phase: Float[Array, "..."], bits: int) -> Float[Array, "..."]:
    r"""Phases rounded to multiples of :math:`2\pi/2^b`. [rad]"""
    step = 2 * jnp.pi / 2**bits
    return jnp.round(phase / step) * step


SORTED = 1024
"""Number of elements up to which `best_quantized` searches for the best common phase. What it gains
decreases with the number of elements: below 0.2 dB in the mean for 1024 elements and one bit."""


def best_quantized(phase: Float[Array, "element"], bits: int) -> Float[Array, "element"]:
    r"""Quantized phases whose response comes closest to that of the given ones. [rad]

    Up to `SORTED` elements the global maximum of :math:`|\sum_i e^{j(q_i - \vartheta_i)}|` over all
    :math:`q_i` that are multiples of :math:`2\pi/2^b`, for more elements the nearest multiples.

    A phase common to all elements is free, and for each value of it the nearest multiples are best.
    As it grows by one step, the elements go to their next multiple one after the other, in the
    order of their rounding errors, so that only as many candidates as there are elements exist.
    """
    if phase.size > SORTED:
        return quantized(phase, bits)
    step = 2 * jnp.pi / 2**bits
    error = phase / step - jnp.round(phase / step)  # in [-1/2, 1/2]
    order = jnp.argsort(-error)  # the largest error is the first to be rounded up
    response = jnp.exp(-1j * step * error[order])
    change = response * (jnp.exp(1j * step) - 1)
    raised = jnp.argmax(jnp.abs(jnp.sum(response) + jnp.cumsum(change) - change))
    up = jnp.zeros_like(phase).at[order].set(jnp.arange(phase.size) < raised)
    return (jnp.round(phase / step) + up) * step


def steered_phases(
    array: PlanarArray, arrival: Float[Array, "2"], steered: Steered
) -> Float[Array, "config element"]:
    """Phases of each element for steered configurations. [rad]"""
    return jax.vmap(lambda offset: focused_phases(array, arrival, steered.focus + offset))(
        steered.offset
    )


def surface_response(
    array: PlanarArray,
    reflection: Float[Array, ""],
    configurations: Configurations,
    arrival: Float[Array, "2"],
    departure: Float[Array, "2"],
) -> tuple[Complex[Array, "config"], Complex[Array, "config 2"]]:
    r"""Response of each configuration, and its derivatives with respect to the departure cosines.

    A steered configuration costs O(1): its response is a product of two Dirichlet kernels for any
    focus, :math:`s = \delta D_C(x_h) D_R(x_v)` with :math:`x = 2\pi d(\hat\psi - \psi)`. For
    arbitrary phases the response is a sum over the elements, O(N).

    Args:
        array: Array of the panel.
        reflection: Reflection amplitude, :math:`\delta`. [1]
        configurations: Configurations of the surface.
        arrival: Direction cosines from the base station. [1]
        departure: Direction cosines to the user, :math:`\psi`. [1]

    Returns:
        :math:`s` (paper eq. (61)) and :math:`\partial s/\partial\psi` [1]. The printed (63), (64)
        are the derivatives with respect to the angles.

    Raises:
        TypeError: The configurations are focused, for spherical waves.
    """
    if isinstance(configurations, Steered):
        scale = 2 * jnp.pi * array.spacing
        target = configurations.focus[None, :] + configurations.offset
        step = scale[None, :] * (target - departure[None, :])
        # One call for the steps along a row and along a column compiles faster than two.
        sums, slopes = dirichlet(jnp.array([[array.columns, array.rows]], dtype=float), step)
        response = reflection * sums[:, 0] * sums[:, 1]
        return response, -reflection * scale[None, :] * slopes * sums[:, ::-1]
    if isinstance(configurations, Focused):
        raise TypeError("focused configurations have the response of surface.spherical")
    # The panel's response factors into row and column, so that no exponential is taken for each
    # element; over many positions the first sum is one matrix product.
    coefficient = reflection * jnp.exp(1j * configurations.phase)
    coefficient = coefficient * planar_steering(array, arrival)[None, :]
    coefficient = coefficient.reshape(-1, array.rows, array.columns)
    row, column = (
        jnp.conj(linear_steering(elements, array.spacing[i], departure[i]))
        for i, elements in enumerate((array.columns, array.rows))
    )
    row_slope, column_slope = (
        -2j * jnp.pi * array.spacing[i] * jnp.arange(elements) * along
        for i, (elements, along) in enumerate(((array.columns, row), (array.rows, column)))
    )
    over_row = jnp.einsum("krc,cd->krd", coefficient, jnp.stack([row, row_slope], axis=1))
    response = over_row[:, :, 0] @ column
    slope = jnp.stack([over_row[:, :, 1] @ column, over_row[:, :, 0] @ column_slope], axis=1)
    return response, slope


BLOCK = 64  # points of `rounded_responses` whose arrays fit into the cache of a processor


def rounded_responses(
    array: PlanarArray,
    reflection: float,
    steered: Steered,
    bits: int,
    arrival: Float[np.ndarray, "point 2"],
    departure: Float[np.ndarray, "point 2"],
) -> tuple[Complex[np.ndarray, "point config"], Complex[np.ndarray, "point config 2"]]:
    r"""`surface_response` of steered configurations whose phases are rounded by `quantized`.

    The phase of the element in column c and row r, in steps of :math:`2\pi/2^b`, is the sum
    :math:`x_c + y_r`. With whole and fractional parts, of :math:`x_c + 1/2` and of :math:`y_r`, it
    is rounded to :math:`\lfloor x_c\rfloor + \lfloor y_r\rfloor`, plus 1 if the fractional parts
    add up to 1 or more. In the order of the columns' parts and of one minus the rows' parts, the
    columns before a row are those that are not rounded up in it. Cumulative sums over the columns
    in this order therefore give the sum of every row: O((C + R) log(C + R)) in place of O(C R).

    Computed with NumPy, because XLA's indexing and sorting take several times as long on a
    processor.

    Args:
        array: Array of the panel.
        reflection: Reflection amplitude. [1]
        steered: Configurations before the rounding, with a leading axis for the points.
        bits: Bits of phase resolution.
        arrival: Direction cosines from the base station, for each point. [1]
        departure: Direction cosines to each point. [1]

    Returns:
        The responses and their derivatives with respect to the departure cosines. [1]
    """
    focus, offset = np.asarray(steered.focus), np.asarray(steered.offset)
    parts = [
        _rounded_block(array, reflection, focus[i], offset[i], bits, arrival[i], departure[i])
        for i in np.array_split(np.arange(len(departure)), -(-len(departure) // BLOCK))
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _rounded_block(
    array: PlanarArray,
    reflection: float,
    focus: np.ndarray,
    offset: np.ndarray,
    bits: int,
    arrival: np.ndarray,
    departure: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    columns, unit = array.columns, 2 * np.pi / 2**bits
    scale = 2 * np.pi * np.asarray(array.spacing)
    # Columns, then rows, along the last axis.
    axis = np.repeat([0, 1], [columns, array.rows])
    index = np.concatenate([np.arange(columns), np.arange(array.rows)])
    passed = (scale * (arrival - departure))[:, axis] * index  # phase of the wave
    steps = (scale * (focus[:, None] + offset - arrival[:, None]) / unit)[..., axis] * index
    steps[..., :columns] += 0.5
    whole = np.floor(steps)
    part = steps - whole
    part[..., columns:] = 1 - part[..., columns:]
    order = np.argsort(part, axis=-1)

    turns = _unit_phasor(unit * np.arange(2**bits))
    value = turns[whole.astype(np.int64) % 2**bits] * _unit_phasor(passed)[:, None]
    value = np.take_along_axis(value, order, axis=-1)
    row = value * (order >= columns)
    column = value - row
    sums, index_sums = np.cumsum(column, axis=-1), np.cumsum(column * order, axis=-1)
    row_sum, row_index = row.sum(axis=-1), row * (order - columns)
    # A row is multiplied by the columns before it, and by those after it turned by one step.
    turn = turns[1]

    def over_rows(rows: np.ndarray, total: np.ndarray, before: np.ndarray) -> np.ndarray:
        kept = np.einsum("pki,pki->pk", rows, before)
        return turn * total * before[..., -1] + (1 - turn) * kept

    response = over_rows(row, row_sum, sums)
    along_row = over_rows(row, row_sum, index_sums)
    along_column = over_rows(row_index, row_index.sum(axis=-1), sums)
    slope = -1j * scale * np.stack([along_row, along_column], axis=-1)
    return reflection * response, reflection * slope


def _unit_phasor(phase: np.ndarray) -> np.ndarray:
    """exp(j phase); NumPy's complex exponential takes ten times as long."""
    phasor = np.empty(phase.shape, dtype=complex)
    np.cos(phase, out=phasor.real)
    np.sin(phase, out=phasor.imag)
    return phasor
