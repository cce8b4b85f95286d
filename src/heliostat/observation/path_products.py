"""Inner products between outer products of factors, and between their derivatives.

The inner product of two outer products is the product of the inner products of their factors, and
inner products of derivatives follow from the product rule, so that the outer products are not
formed.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float


class Products(NamedTuple):
    """Inner products between the factors of two paths and their derivatives, for all pairs."""

    value: Complex[Array, "path path"]
    left: Complex[Array, "path unknown path"]  # derivative of the first factor
    right: Complex[Array, "path path unknown"]  # derivative of the second factor
    both: Complex[Array, "path unknown path unknown"]
    apart: Float[Array, "path unknown"]
    """Squared norms of the derivatives of a path if only one factor at a time depends on them."""


def factor_products(factor: Complex[Array, "path order sample"]) -> Products:
    """Return the inner products of one factor of all paths.

    Args:
        factor: The factor of each path; order 0 is its value, the other orders are its derivatives.
    """
    gram = jnp.einsum("ian,jbn->iajb", jnp.conj(factor), factor)
    return Products(
        gram[:, 0, :, 0],
        gram[:, 1:, :, 0],
        gram[:, 0, :, 1:],
        gram[:, 1:, :, 1:],
        jnp.sum(jnp.abs(factor[:, 1:]) ** 2, axis=2),
    )


def multiplied(one: Products, other: Products) -> Products:
    """Return the inner products of the outer products of two factors, by the product rule.

    Args:
        one: Inner products of one factor.
        other: Inner products of the other factor.
    """

    def first_derived(a: Products, b: Products) -> tuple[Array, ...]:
        return (
            a.left * b.value[:, None, :],
            a.right * b.value[:, :, None],
            a.both * b.value[:, None, :, None] + a.left[:, :, :, None] * b.right[:, None, :, :],
            a.apart * jnp.real(jnp.diagonal(b.value))[:, None],
        )

    halves = first_derived(one, other), first_derived(other, one)
    return Products(one.value * other.value, *(a + b for a, b in zip(*halves, strict=True)))
