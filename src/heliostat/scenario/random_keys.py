"""Independent random keys for each purpose, from a scenario's ``link.seed`` or a given key.

A key that is used for two purposes makes the two draws dependent, for example noise that is
correlated with the channel. Each purpose therefore has its own tag, and its key is
``fold_in(root, tag)``, where the root is the key of the seed or the key of the caller. Trial or
surface i of a purpose uses ``fold_in`` of that key and i.
"""

from typing import Literal, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, UInt

Purpose: TypeAlias = Literal[
    "path gain phase",
    "alignment phases",
    "data phases",
    "channel",
    "target gain phase",
    "noise",
    "motion",
    "errors",
    "place",
    "starts",
    "further path",
]

_TAGS: dict[Purpose, int] = {
    # Draws of a localization scene, then of a sensing scene. A scene belongs to one system, so both
    # count from 0: channel i has the tag i.
    "path gain phase": 0,
    "alignment phases": 1,
    "data phases": 2,
    "channel": 0,
    "target gain phase": 2**32 - 1,
    # All other purposes, above any channel index.
    "noise": 2**31,
    "motion": 2**31 + 1,
    "errors": 2**31 + 2,
    "place": 2**31 + 3,
    "starts": 2**31 + 4,
    "further path": 2**31 + 5,
}


def purpose_key(
    seed_or_key: int | PRNGKeyArray, purpose: Purpose, channel: int = 0
) -> PRNGKeyArray:
    """Return the key for one purpose; keys for different purposes are independent.

    Args:
        seed_or_key: A seed such as ``link.seed``, or a key.
        purpose: Quantity to draw: phase of the path gain, random surface phases for alignment and
            data, channel, phase of the target's gain, receiver noise, motion of the user, errors in
            place of estimates, place of a target, starting points of a design,
            root of all draws of a path beside that through the first surface.
        channel: Number of the surface for the purpose ``channel``, number of the path for
            ``further path``, 0 being the direct one.
    """
    tag = np.uint32(_TAGS[purpose] + channel)
    if isinstance(seed_or_key, int):
        return _from_seed(np.int64(seed_or_key), tag)
    return _from_key(seed_or_key, tag)


@jax.jit
def _from_seed(seed: Int[Array, ""], tag: UInt[Array, ""]) -> PRNGKeyArray:
    return jax.random.fold_in(jax.random.key(seed), tag)


@jax.jit
def _from_key(key: PRNGKeyArray, tag: UInt[Array, ""]) -> PRNGKeyArray:
    return jax.random.fold_in(key, tag)
