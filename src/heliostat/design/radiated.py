"""Power that each surface radiates under a design."""

import jax
from jaxtyping import Array, Complex

from heliostat.design.per_surface import each_surface
from heliostat.observation.echoes import target_steering
from heliostat.scene.sensing import EchoLink, SensingScene
from heliostat.stored_programs import stored_jit
from heliostat.surface.active import ActiveSurface, ReflectedPower, reflected_power


@stored_jit
def radiated_power(
    scene: SensingScene,
    covariance: Complex[Array, "surface pattern tx tx"],
    reflection: tuple[Complex[Array, "pattern _"], ...],
) -> ReflectedPower:
    """Power radiated by each surface in each pattern, paper eq. (7); terms are [surface, pattern].

    Args:
        scene: The scene.
        covariance: Transmit covariances. [W]
        reflection: Coefficients of each surface. [1]
    """

    def own(
        link: EchoLink, surface: ActiveSurface, angles: Array, gain: Array, psi: Array, sent: Array
    ) -> ReflectedPower:
        steering = target_steering(surface.array, angles)
        return jax.vmap(
            lambda p, r: reflected_power(p, link.bs_to_irs, r, steering, gain, surface.noise)
        )(psi, sent)

    return each_surface(own, scene, reflection, covariance)
