"""Random keys by purpose: the only place where a scenario's ``link.seed`` becomes a JAX key.

A key that is used for two purposes makes two draws depend on each other: noise that is correlated
with the channel, for example. Every purpose therefore has a tag of its own, and its key is
``fold_in(root, tag)``, where the root belongs to a seed or is the key a caller passed. Trial or
surface i of a purpose uses ``fold_in`` of that key and i.
"""

from typing import Literal, TypeAlias

import jax
from jaxtyping import PRNGKeyArray

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
]

_TAGS: dict[Purpose, int] = {
    # Draws of a localization scene, then of a sensing scene. A scene has one system, so that both
    # may count from 0: channel i has the tag i.
    "path gain phase": 0,
    "alignment phases": 1,
    "data phases": 2,
    "channel": 0,
    "target gain phase": 2**32 - 1,
    # Everything else, above any index of a channel.
    "noise": 2**31,
    "motion": 2**31 + 1,
    "errors": 2**31 + 2,
    "place": 2**31 + 3,
    "starts": 2**31 + 4,
}


def purpose_key(
    seed_or_key: int | PRNGKeyArray, purpose: Purpose, channel: int = 0
) -> PRNGKeyArray:
    """Return the key for one purpose; keys for different purposes are independent.

    Args:
        seed_or_key: A seed such as ``link.seed``, or a key in its place.
        purpose: What is drawn: phase of the path gain, random surface phases for alignment and
            data, channel, phase of the target's gain, receiver noise, motion of the user, errors in
            place of estimates, place of a target, starting points of a design.
        channel: Number of the surface, for the purpose ``channel`` only.
    """
    root = jax.random.key(seed_or_key) if isinstance(seed_or_key, int) else seed_or_key
    return jax.random.fold_in(root, _TAGS[purpose] + channel)
