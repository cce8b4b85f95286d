"""Path-loss laws of the link through a passive surface, by name.

Each law returns the amplitude that one element contributes. The response of the surface multiplies
it: by N for a focused surface of N elements.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from heliostat.geometry.frames import Scalar


def sum_distance(
    bs_to_irs: Scalar, irs_to_user: Scalar, wavelength: Scalar, element_area: Scalar
) -> Scalar:
    r"""Friis' law over the unfolded path, :math:`\lambda / (4\pi(d_1 + d_2))`. [1]

    The localization paper's :math:`1/\sqrt{\rho_1}` (below its eq. (17)). It holds for a mirror
    large against the Fresnel zone, yet the paper multiplies it by the element sum: it is far above
    what one element scatters. Use it to reproduce the paper, ``product`` to plan.

    Args:
        bs_to_irs: :math:`d_1`. [m]
        irs_to_user: :math:`d_2`. [m]
        wavelength: :math:`\lambda`. [m]
        element_area: Not used by this law. [m²]
    """
    del element_area
    return wavelength / (4 * jnp.pi * (bs_to_irs + irs_to_user))


def product(
    bs_to_irs: Scalar, irs_to_user: Scalar, wavelength: Scalar, element_area: Scalar
) -> Scalar:
    r"""Scattering by one element of area :math:`A`, :math:`A / (4\pi d_1 d_2)`. [1]

    An element takes :math:`A` from the incident density and sends it on with the gain
    :math:`4\pi A/\lambda^2` of its aperture; antennas are isotropic. Far field, broadside
    (:cite:`ozdogan2020`); :math:`\lambda` cancels.

    Args:
        bs_to_irs: :math:`d_1`. [m]
        irs_to_user: :math:`d_2`. [m]
        wavelength: Not used by this law. [m]
        element_area: :math:`A`. [m²]
    """
    del wavelength
    return element_area / (4 * jnp.pi * bs_to_irs * irs_to_user)


PathLossLaw: TypeAlias = Callable[..., Scalar]
"""Function of ``bs_to_irs``, ``irs_to_user``, ``wavelength`` and ``element_area`` in this order."""

LAWS: dict[str, PathLossLaw] = {"sum_distance": sum_distance, "product": product}


def check_law(
    law: PathLossLaw,
    bs_to_irs: float,
    irs_to_user: float,
    wavelength: float,
    element_area: float,
) -> float:
    """Return the amplitude of one element by a user-defined law, after checking the law.

    Args:
        law: The law.
        bs_to_irs: Distance from base station to surface. [m]
        irs_to_user: Distance from surface to user. [m]
        wavelength: Wavelength. [m]
        element_area: Effective area of an element. [m²]

    Raises:
        ValueError: The law does not return one positive finite number, or JAX cannot differentiate
            it with respect to the distance from surface to user.
    """
    arguments = [jnp.asarray(x, dtype=float) for x in (bs_to_irs, irs_to_user, wavelength)]
    arguments.append(jnp.asarray(element_area, dtype=float))
    name = getattr(law, "__name__", "path_loss")
    call = f"{name}(bs_to_irs, irs_to_user, wavelength, element_area)"
    wanted = "it must return one positive number, the amplitude of one element"
    try:
        amplitude = law(*arguments)
    except Exception as error:  # whatever the user's function raises
        raise ValueError(f"{call} raises {type(error).__name__}: {_first_line(error)}") from error
    try:
        value = np.asarray(amplitude)
        number = value.dtype.kind in "fiu"
    except Exception as error:  # an object without array form
        raise ValueError(f"{call} returns a {type(amplitude).__name__}; {wanted}") from error
    if not number:
        kind = f"an array of {value.dtype}" if hasattr(amplitude, "dtype") else None
        raise ValueError(f"{call} returns {kind or f'a {type(amplitude).__name__}'}; {wanted}")
    if value.shape != ():
        raise ValueError(f"{call} returns an array of shape {value.shape}; {wanted}")
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{call} returns {value}; {wanted}")

    def differentiated(distance: Scalar) -> Scalar:
        before, _, *after = arguments
        return jnp.asarray(law(before, distance, *after), dtype=float)

    try:
        slope = jax.jit(jax.grad(differentiated))(arguments[1])
    except Exception as error:
        raise ValueError(
            f"{call} cannot be traced by JAX ({type(error).__name__}); write it with jax.numpy, "
            "without float() and without if on its arguments"
        ) from error
    if not np.isfinite(slope):
        raise ValueError(
            f"the derivative of {call} with respect to irs_to_user is {slope}; it must be finite"
        )
    return float(value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def exponent_law(distance: Scalar, reference_loss: Scalar, exponent: Scalar) -> Scalar:
    r"""Power law from one meter on, as an amplitude: :math:`\sqrt{K_0 d^{-\alpha}}`. [1]

    The sensing paper names no law for its channels from base station to surface;
    :math:`K_0` = -30 dB and :math:`\alpha` = 2.2 reproduce its figures.

    Args:
        distance: :math:`d`. [m]
        reference_loss: :math:`K_0`, the power ratio at one meter. [1]
        exponent: :math:`\alpha`. [1]
    """
    return jnp.sqrt(reference_loss * distance**-exponent)


def radar_equation(distance: Scalar, reference_loss: Scalar, cross_section: Scalar) -> Scalar:
    r"""To a target and back, as an amplitude: :math:`\sqrt{K_0\sigma/(4\pi d^4)}`. [1]

    Spreading over the sphere on the way out, scattering by the cross-section, and the loss
    :math:`K_0 d^{-2}` on the way back. The sensing paper does not say how large :math:`\beta` is;
    this reproduces its figures. It is :math:`|\beta|` of one element with the gain 1; a gain
    :math:`G` multiplies it by :math:`G`. With :math:`K_0 = (\lambda/4\pi)^2` it is the textbook's
    radar equation.

    Args:
        distance: :math:`d`. [m]
        reference_loss: :math:`K_0`, the power ratio at one meter. [1]
        cross_section: :math:`\sigma`. [m²]
    """
    return jnp.sqrt(reference_loss * cross_section / (4 * jnp.pi)) / distance**2
