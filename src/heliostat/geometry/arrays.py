"""Steering vectors of linear and planar arrays, and their sums in closed form.

Elements are counted from a corner, as in the papers: the first element has phase 0. In a planar
array the horizontal index runs fastest, as in the papers' Kronecker products.
"""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from heliostat.geometry.frames import Scalar, Vector


class LinearArray(eqx.Module):
    """A uniform linear array."""

    axis: Vector  # unit vector from the first element to the last
    spacing: Scalar  # [wavelengths]
    elements: int = eqx.field(static=True)


class PlanarArray(eqx.Module):
    """A uniform rectangular array; ``normal`` points to its reflecting side."""

    horizontal: Vector  # unit vector along a row
    vertical: Vector  # unit vector along a column
    normal: Vector  # unit vector
    spacing: Float[Array, "2"]  # along a row, along a column [wavelengths]
    columns: int = eqx.field(static=True)
    rows: int = eqx.field(static=True)

    @property
    def elements(self) -> int:
        """Number of elements, :math:`N`."""
        return self.columns * self.rows

    def element_offsets(self, wavelength: Scalar) -> Float[Array, "element xyz"]:
        """Positions of all elements relative to the panel's center. [m]

        Args:
            wavelength: Wavelength, the unit of ``spacing``. [m]
        """
        column = (jnp.arange(self.columns) - (self.columns - 1) / 2) * self.spacing[0]
        row = (jnp.arange(self.rows) - (self.rows - 1) / 2) * self.spacing[1]
        across = column[:, None] * self.horizontal[None, :]
        up = row[:, None] * self.vertical[None, :]
        return wavelength * (up[:, None, :] + across[None, :, :]).reshape(-1, 3)

    def centre_offset(self, wavelength: Scalar) -> Vector:
        """Position of the panel's center relative to its first element. [m]

        Args:
            wavelength: Wavelength, the unit of ``spacing``. [m]
        """
        across = (self.columns - 1) / 2 * self.spacing[0] * self.horizontal
        up = (self.rows - 1) / 2 * self.spacing[1] * self.vertical
        return wavelength * (across + up)

    def direction_cosines(self, direction: Vector) -> Float[Array, "2"]:
        """Cosines of a travel direction along a row and along a column. [1]"""
        return jnp.stack([jnp.dot(direction, self.horizontal), jnp.dot(direction, self.vertical)])


def linear_steering(elements: int, spacing: Scalar, cosine: Scalar) -> Complex[Array, "element"]:
    r"""Response of a linear array, :math:`a_k = e^{j 2\pi d k \psi}`, :math:`k = 0, 1, \dots`

    Args:
        elements: Number of elements.
        spacing: :math:`d`. [wavelengths]
        cosine: Direction cosine :math:`\psi` along the array. [1]

    Paper eqs. (13), (14), with :math:`\psi = \sin\varphi`.
    """
    return jnp.exp(2j * jnp.pi * spacing * cosine * jnp.arange(elements))


def planar_steering(array: PlanarArray, cosines: Float[Array, "2"]) -> Complex[Array, "element"]:
    r"""Response of a panel, :math:`a(\psi_v) \otimes a(\psi_h)`.

    Args:
        array: Array of the panel.
        cosines: Direction cosines along a row and along a column. [1]

    Paper eqs. (15), (16): :math:`\psi_h = \sin\varphi^a\sin\varphi^e`,
    :math:`\psi_v = \cos\varphi^e`. The paper's (10) and (11) measure the two vertical cosines with
    opposite signs; here both belong to the travel direction.
    """
    along_row = linear_steering(array.columns, array.spacing[0], cosines[0])
    along_column = linear_steering(array.rows, array.spacing[1], cosines[1])
    return jnp.kron(along_column, along_row)


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """Value of a polynomial, the coefficient of the highest power first.

    `jax.numpy.polyval` takes longer to compile, because it slices an array of coefficients.
    """
    value = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def _sinc(x: Array) -> tuple[Array, Array, Array, Array]:
    """Sin(x)/x and its derivative, to full precision at any x; cos(x) and sin(x) with them."""
    cosine, sine = jnp.cos(x), jnp.sin(x)
    small = jnp.abs(x) < 0.5
    square = jnp.where(small, x * x, 0.0)
    # Taylor series: the closed forms lose all digits as x -> 0. Eight terms reach 1e-17 at 0.5.
    powers = [(-1) ** n / math.factorial(2 * n + 1) for n in range(9)]
    value = _polynomial(powers[::-1], square)
    slope = _polynomial([2 * n * p for n, p in enumerate(powers)][:0:-1], square)
    safe = jnp.where(small, 1.0, x)
    closed = sine / safe
    return (
        jnp.where(small, value, closed),
        jnp.where(small, slope * x, (cosine - closed) / safe),
        cosine,
        sine,
    )


def sinc_and_slopes(
    x: Float[Array, "*any"],
) -> tuple[Float[Array, "*any"], Float[Array, "*any"], Float[Array, "*any"]]:
    r""":math:`\sin(x)/x` and its first two derivatives, to full precision at any :math:`x`.

    Args:
        x: Argument. [rad]
    """
    value, slope, _, _ = _sinc(x)
    small = jnp.abs(x) < 0.5
    square = jnp.where(small, x * x, 0.0)
    series = [(-1) ** n * 2 * n * (2 * n - 1) / math.factorial(2 * n + 1) for n in range(10)]
    near = _polynomial(series[:0:-1], square)
    return value, slope, jnp.where(small, near, -value - 2 * slope / jnp.where(small, 1.0, x))


def dirichlet(
    elements: int | Float[Array, "*#any"], step: Float[Array, "*any"]
) -> tuple[Complex[Array, "*any"], Complex[Array, "*any"]]:
    r"""Sum of a linear array's phases and its derivative, in O(1).

    .. math:: D_n(x) = \sum_{k=0}^{n-1} e^{jkx}
              = e^{j(n-1)x/2}\,\frac{\sin(nx/2)}{\sin(x/2)}, \qquad D_n'(x).

    Args:
        elements: :math:`n`; may be traced; broadcast against ``step``.
        step: Phase steps :math:`x` between neighbors. [rad]

    Returns:
        :math:`D_n(x)` and :math:`D_n'(x)`, exact also at :math:`x = 0` and at grating lobes.
    """
    reduced = step - 2 * jnp.pi * jnp.round(step / (2 * jnp.pi))
    whole, whole_slope, whole_cos, whole_sin = _sinc(elements * reduced / 2)
    part, part_slope, part_cos, part_sin = _sinc(reduced / 2)  # at least 2/pi on [-pi/2, pi/2]
    ratio = elements * whole / part
    ratio_slope = (elements * elements / 2 * whole_slope - ratio * part_slope / 2) / part
    # e^{j(n-1)x/2} from the sines and cosines above.
    turn = jax.lax.complex(
        whole_cos * part_cos + whole_sin * part_sin, whole_sin * part_cos - whole_cos * part_sin
    )
    lag = (elements - 1) / 2
    return turn * ratio, turn * jax.lax.complex(ratio_slope, lag * ratio)
