"""The same computation for every surface of a scene."""

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

    Surfaces that are alike are one loop, so that its body is compiled once however many there are.

    Args:
        function: Its results must have the same shape for every surface.
        scene: The scene.
        others: What else it needs, one entry a surface.
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
        (jax.tree.structure(own), tuple(jnp.shape(leaf) for leaf in jax.tree.leaves(own)))
        for own in arguments
    }
    if len(kinds) == 1:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arguments)
        alike: Result = jax.lax.map(lambda own: function(*own), stacked)
        return alike
    results = [function(*own) for own in arguments]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)
