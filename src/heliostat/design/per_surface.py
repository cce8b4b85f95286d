"""Evaluation of a function for every surface of a scene."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from heliostat.scene.sensing import SensingScene, target_angles

Result = TypeVar("Result")


def each_surface(
    function: Callable[..., Result], scene: SensingScene, *others: tuple[Any, ...] | Array
) -> Result:
    """Results of a function of ``(link, surface, angles, target_gain, *others)``, stacked.

    For surfaces of equal shape the function is compiled once, as the body of a loop.

    Args:
        function: Function whose results have the same shape for every surface.
        scene: The scene.
        others: Further arguments, one entry per surface.
    """
    arguments = [
        (
            scene.link(i),
            surface,
            target_angles(scene.target.position, surface.position, surface.array),
            scene.target_gain[i],
            *(other[i] for other in others),
        )
        for i, surface in enumerate(scene.surfaces)
    ]
    kinds = {
        (jax.tree.structure(given), tuple(jnp.shape(leaf) for leaf in jax.tree.leaves(given)))
        for given in arguments
    }
    if len(kinds) == 1:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arguments)
        alike: Result = jax.lax.map(lambda given: function(*given), stacked)
        return alike
    results = [function(*given) for given in arguments]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)
