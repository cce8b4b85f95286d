r"""Value and gradient of `joint.joint_objective` for many starts at once, in NumPy.

The joint design evaluates its objective thousands of times for small matrices. JAX would have to
compile it for each number of elements, antennas and patterns, which takes longer than the design.
The functions here compute the same values for all starts together with stacked matrix products, and
the gradient by reverse accumulation: each ``..._backwards`` takes the gradients of the results of
the method of the same name and returns those of its arguments. The gradient :math:`g` of a complex
number z is defined by :math:`dL = \mathrm{Re}(g^*\,dz)`.

`joint.joint_objective` is the definition. The tests compare both, with automatic differentiation.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from heliostat.design.joint import MAX_LOG_PRICE, JointTask, Layout
from heliostat.design.matrices import adjoint, hermitian_part


class StackedTasks(NamedTuple):
    """The numbers of `joint.JointTask` that the objective depends on, stacked over starts."""

    channel: np.ndarray  # G [start, element, tx]
    steering: np.ndarray  # [start, position, 3, element]
    gain_power: np.ndarray  # |beta|^2 [start, position]
    amplification: np.ndarray  # [start]
    surface_power: np.ndarray  # P_s [start] [W]
    surface_noise: np.ndarray  # sigma_r^2 [start] [W]
    noise: np.ndarray  # sigma_b^2 [start] [W]
    symbols: np.ndarray  # [start]
    min_snr: np.ndarray  # [start]


def stack_tasks(tasks: list[JointTask]) -> StackedTasks:
    """Stack design problems of equal shape.

    Args:
        tasks: The problem of each start.
    """
    different = list({id(task): task for task in tasks}.values())  # many starts share a problem
    order = {id(task): i for i, task in enumerate(different)}
    at = [order[id(task)] for task in tasks]

    def each(number: Callable[[JointTask], Array]) -> np.ndarray:
        return np.stack([np.asarray(number(task)) for task in different])[at]

    return StackedTasks(
        each(lambda task: task.link.bs_to_irs),
        each(lambda task: task.steering),
        each(lambda task: jnp.abs(task.target_gain) ** 2),
        each(lambda task: task.surface.amplification),
        each(lambda task: task.surface.power),
        each(lambda task: task.surface.noise),
        each(lambda task: task.link.noise),
        each(lambda task: task.link.symbols),
        each(lambda task: task.min_snr),
    )


def values_and_slopes(
    tasks: StackedTasks, flat: np.ndarray, power: np.ndarray, sharpness: float, layout: Layout
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `joint.joint_objective` and its derivatives.

    By the envelope theorem the derivative to the log power, at an optimum, is that of the least log
    CRB.

    Args:
        tasks: Problem of each start.
        flat: Unconstrained unknowns, [start, unknown].
        power: Transmit power of each start, averaged over the patterns. [W]
        sharpness: Sharpness of the smooth minima, see `parametrization.power_factor`.
        layout: Layout of the unknowns.

    Returns:
        The values, the gradients, [start, unknown], and the derivatives to the log power.
    """
    with np.errstate(all="ignore"):  # a start that overflows gets a value that is not finite
        at = _Evaluation(tasks, flat, power, sharpness, layout)
        value = at.forwards()
        return value, *at.backwards()


class _Evaluation:
    """One evaluation: intermediate results are kept for the gradient.

    Axes: start, pattern, position, then those of a matrix.
    """

    def __init__(
        self,
        tasks: StackedTasks,
        flat: np.ndarray,
        power: np.ndarray,
        sharpness: float,
        layout: Layout,
    ) -> None:
        self.tasks, self.layout, self.power, self.sharpness = tasks, layout, power, sharpness
        S, K = len(flat), layout.patterns
        first = 2 * K * layout.elements
        self.z = flat[:, :first].reshape(S, K, -1, 2).view(complex)[..., 0]
        mixing = flat[:, first : -3 * K].reshape(S, K, layout.basis, layout.rank, 2)
        self.mixing = mixing.view(complex)[..., 0]
        self.log_price, self.noise_logit, self.log_energy = np.moveaxis(
            flat[:, -3 * K :].reshape(S, 3, K), 1, 0
        )
        self.priced = self.log_price < MAX_LOG_PRICE
        self.strongest = tasks.gain_power.max(axis=1)[:, None]

    def forwards(self) -> np.ndarray:
        """Value of each start."""
        self._scale_coefficients()
        self._propagate()
        self._form_beams()
        self._limit_radiated()
        return self._bound()

    def backwards(self) -> tuple[np.ndarray, np.ndarray]:
        """Gradient, and derivative to the log power."""
        ways, gram, beams, psi = self._limit_radiated_backwards(self._bound_backwards())
        log_energy, to_power, *rest = self._form_beams_backwards(beams)
        mixing, log_price, more_ways, more_gram, echo_gain = rest
        psi = psi + self._propagate_backwards(ways + more_ways, gram + more_gram, echo_gain)
        z, noise_logit = self._scale_coefficients_backwards(psi)
        S = len(self.z)
        slope = np.concatenate(
            [
                _real_pairs(z).reshape(S, -1),
                _real_pairs(mixing).reshape(S, -1),
                log_price * self.priced,
                noise_logit,
                log_energy,
            ],
            axis=1,
        )
        return slope, to_power

    # Coefficients, scaled down until their own noise takes at most its share of P_s.

    def _noise(self, gain: np.ndarray) -> np.ndarray:
        """Largest power radiated without any signal, `surface.active.own_noise`."""
        return self.tasks.surface_noise[:, None] * (self.strongest * gain**2 + 2 * gain)

    def _noise_slope(self, gain: np.ndarray) -> np.ndarray:
        return self.tasks.surface_noise[:, None] * (2 * self.strongest * gain + 2)

    def _scale_coefficients(self) -> None:
        z = self.z
        self.length = np.sqrt(_square(z) + (1.0 if self.layout.form == "plane" else 0.0))
        self.free_psi = self.tasks.amplification[:, None, None] * z / self.length
        self.free_gain = _square(self.free_psi).sum(axis=2)
        self.free_noise = self._noise(self.free_gain)
        self.noise_share = 1 / (1 + np.exp(-self.noise_logit))
        claimed = self.free_noise / self.noise_share
        limit = np.broadcast_to(self.tasks.surface_power[:, None], claimed.shape)
        self.amplitude, self.amplitude_turn = _root_power_factor(limit, claimed, self.sharpness)
        self.psi = self.amplitude[..., None] * self.free_psi

    def _scale_coefficients_backwards(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # log(amplitude) falls by `turn` for each unit of log(claimed).
        along = _inner(psi, self.psi) * -self.amplitude_turn
        noise_logit = -along * (1 - self.noise_share)
        free_noise = _ratio(along, self.free_noise)
        free_psi = self.amplitude[..., None] * psi
        free_psi += (2 * free_noise * self._noise_slope(self.free_gain))[..., None] * self.free_psi
        radial = np.real(free_psi * np.conj(self.z)) / self.length**2
        amplification = self.tasks.amplification[:, None, None]
        return amplification / self.length * (free_psi - radial * self.z), noise_logit

    # Channels through the surface, and the power that the surface radiates.

    def _propagate(self) -> None:
        tasks, psi = self.tasks, self.psi
        self.square = _square(psi)
        self.gain = self.square.sum(axis=2)
        channel = tasks.channel[:, None]
        self.gram = adjoint(channel) @ (self.square[..., None] * channel)
        self.echo_gain = tasks.gain_power[:, None] * self.gain[..., None]
        S, K, N = psi.shape
        steered = tasks.steering[:, None] * psi[:, :, None, None]
        self.ways = steered.reshape(S, K, -1, N) @ channel  # rows: position, derivative

    def _propagate_backwards(
        self, ways: np.ndarray, gram: np.ndarray, echo_gain: np.ndarray
    ) -> np.ndarray:
        tasks = self.tasks
        S, K, N = self.psi.shape
        channel = tasks.channel[:, None]
        steered = (ways @ adjoint(channel)).reshape(S, K, -1, 3, N)
        psi = np.sum(np.conj(tasks.steering)[:, None] * steered, axis=(2, 3))
        square = _inner(channel, channel @ gram)
        square += np.sum(echo_gain * tasks.gain_power[:, None], axis=2)[..., None]
        return psi + 2 * square * self.psi

    # Beams in the span of (I + rho Q)^-1 V*, of the given total power.

    def _form_beams(self) -> None:
        M = self.gram.shape[-1]
        S, K = self.z.shape[:2]
        ways = self.ways.reshape(S, K, -1, 3, M)
        self.norms = np.sqrt(_inner(ways, ways))[..., None]
        unit = ways / self.norms
        self.main_unit, self.slopes = unit[:, :, :, :1], unit[:, :, :, 1:]
        self.along = np.vecdot(self.main_unit, self.slopes)[..., None]
        apart = self.slopes - self.along * self.main_unit
        self.apart_length = np.sqrt(_inner(apart, apart) + 1e-16)[..., None]
        self.apart = apart / self.apart_length
        basis = np.concatenate([self.main_unit, self.apart], axis=3).reshape(S, K, -1, M)

        self.main = np.conj(self.ways[:, :, 0, :, None])  # v* of the first position
        self.weight = self.gram + self.echo_gain[:, :, :1, None] * (self.main @ adjoint(self.main))
        self.trace = np.trace(self.weight, axis1=2, axis2=3).real
        self.price = np.exp(np.minimum(self.log_price, MAX_LOG_PRICE)) * M / self.trace
        self.noise_ratio = (self.tasks.surface_noise / self.tasks.noise)[:, None, None, None]
        priced = self.price[..., None, None] * self.weight + np.eye(M)
        self.price_inverse = _solved(priced, np.broadcast_to(np.eye(M), priced.shape))
        self.span = self.price_inverse @ adjoint(basis)
        self.raw = self.span @ self.mixing
        self.raw_power = _inner(self.raw, self.raw, axes=2)
        energy = np.exp(self.log_energy - self.log_energy.max(axis=1, keepdims=True))
        self.energy = energy / energy.sum(axis=1, keepdims=True)
        total = K * self.energy * self.power[:, None]
        self.beam_scale = np.sqrt(total / self.raw_power)[..., None, None]
        self.beams = self.beam_scale * self.raw

    def _form_beams_backwards(self, beams: np.ndarray) -> tuple[np.ndarray, ...]:
        S, K, M, _ = beams.shape
        radial = _inner(beams, self.beams, axes=2)
        # The beams grow by half of the logarithm of their power.
        log_energy = radial / 2 - self.energy * np.sum(radial / 2, axis=1, keepdims=True)
        to_power = np.sum(radial / 2, axis=1)
        share = (radial / self.raw_power)[..., None, None]
        raw = self.beam_scale * beams - share * self.raw
        mixing = adjoint(self.span) @ raw
        right = self.price_inverse @ (raw @ adjoint(self.mixing))
        system = -right @ adjoint(self.span)

        price = _inner(system, self.weight, axes=2) * self.price
        weight = self.price[..., None, None] * system
        weight = hermitian_part(weight)
        weight -= (price / self.trace)[..., None, None] * np.eye(M)
        turned = weight @ self.main
        echo_gain = np.zeros_like(self.echo_gain)
        echo_gain[..., 0] = _inner(self.main, turned, axes=2)

        basis = adjoint(right).reshape(S, K, -1, 3, M)
        apart = basis[:, :, :, 1:]
        apart = apart - _inner(apart, self.apart)[..., None] * self.apart
        apart = apart / self.apart_length
        along = -np.vecdot(self.main_unit, apart)[..., None]
        main = basis[:, :, :, :1] - np.sum(np.conj(self.along) * apart, axis=3, keepdims=True)
        main = main + np.sum(np.conj(along) * self.slopes, axis=3, keepdims=True)
        unit = np.concatenate([main, apart + along * self.main_unit], axis=3)
        units = np.concatenate([self.main_unit, self.slopes], axis=3)
        ways = unit - _inner(unit, units)[..., None] * units
        ways = (ways / self.norms).reshape(S, K, -1, M)
        # d(g u u^H) with u = v*: the gradient of v is the conjugate of that of u.
        ways[:, :, 0] += np.conj(2 * self.echo_gain[:, :, :1] * turned[..., 0])
        return log_energy, to_power, mixing, price, ways, weight, echo_gain

    # Beams scaled down until the surface radiates at most P_s.

    def _limit_radiated(self) -> None:
        S, K = self.z.shape[:2]
        free = self.ways @ self.beams
        self.free_sent = free.reshape(S, K, -1, 3, free.shape[-1])
        self.reflected_beams = self.gram @ self.beams
        reflected = _inner(self.beams, self.reflected_beams, axes=2)
        lit = self.free_sent[:, :, :, 0]
        self.lit = _inner(lit, lit)
        radiated = reflected[..., None] + self.echo_gain * self.lit
        self.radiated = radiated.max(axis=2)
        self.worst = radiated == self.radiated[..., None]
        self.room = self.tasks.surface_power[:, None] - self._noise(self.gain)
        self.factor, self.factor_turn = _root_power_factor(self.room, self.radiated, self.sharpness)
        self.sent = self.factor[..., None, None, None] * self.free_sent
        ways = self.ways.reshape(S, K, -1, 3, self.ways.shape[-1])
        system = self.noise_ratio * self.gram + np.eye(self.gram.shape[-1])
        filtered = _solved(system, adjoint(self.ways)).reshape(S, K, len(system[0, 0]), -1, 3)
        self.filtered = filtered.swapaxes(2, 3)
        noise = self.tasks.noise[:, None, None, None, None]
        both = np.stack([ways @ self.filtered / noise, self.sent @ adjoint(self.sent)], axis=3)
        self.matrices = np.conj(both)

    def _limit_radiated_backwards(self, matrices: np.ndarray) -> tuple[np.ndarray, ...]:
        S, K, M = self.beams.shape[:3]
        matrices = np.conj(matrices + adjoint(matrices))
        echo = matrices[:, :, :, 0] / self.tasks.noise[:, None, None, None, None]
        filtered = self.filtered @ echo
        ways = adjoint(filtered).reshape(S, K, -1, M)
        gram = -self.noise_ratio / 2 * np.sum(filtered @ adjoint(self.filtered), axis=2)

        sent = matrices[:, :, :, 1] @ self.sent
        along = _inner(sent, self.sent, axes=3) * -self.factor_turn
        radiated = _ratio(along, self.radiated)
        noise = along / self.room
        free = self.factor[..., None, None, None] * sent
        chosen = np.where(self.worst, radiated[..., None], 0.0)
        free[:, :, :, 0] += (2 * chosen * self.echo_gain)[..., None] * self.free_sent[:, :, :, 0]
        free = free.reshape(S, K, -1, free.shape[-1])
        ways += free @ adjoint(self.beams)
        beams = adjoint(self.ways) @ free
        beams += 2 * radiated[..., None, None] * self.reflected_beams
        gram += radiated[..., None, None] * (self.beams @ adjoint(self.beams))
        gain = noise * self._noise_slope(self.gain)
        gain += np.sum(chosen * self.lit * self.tasks.gain_power[:, None], axis=2)
        return ways, gram, beams, 2 * gain[..., None] * self.psi

    # The bound of each position from its 3 x 3 matrices, as in `bounds.direction`.

    def _bound(self) -> np.ndarray:
        tasks, K = self.tasks, self.layout.patterns
        X = self.matrices  # received and transmitted
        self.corner = np.real(X[..., 0, 0])
        self.other = self.corner[..., ::-1]
        self.row = X[..., 0, 1:]
        self.share = self.row * _ratio(1.0, self.corner)[..., None]
        product = np.conj(self.row)[..., :, None] * self.share[..., None, :]
        self.schur = np.real(X[..., 1:, 1:] - product)
        own = np.sum(self.other[..., None, None] * self.schur, axis=(1, 3))
        self.product = self.corner[..., 0] * self.corner[..., 1]
        cross = np.sum(self.row * self.other[..., None], axis=3)
        self.slope = cross * _ratio(1.0, self.product)[..., None]
        self.total = self.product.sum(axis=1)
        self.mean = cross.sum(axis=1) * _ratio(1.0, self.total)[..., None]
        self.spread = self.slope - self.mean[:, None]
        self.deviation = np.sqrt(self.product)[..., None] * self.spread
        self.scale = 2 * tasks.symbols[:, None] * tasks.gain_power / K
        apart = np.real(_outer(self.deviation)).sum(axis=1)
        J = self.information = self.scale[..., None, None] * (own + apart)
        self.snr = self.scale / 2 * self.total

        self.determinant = J[..., 0, 0] * J[..., 1, 1] - J[..., 0, 1] ** 2
        self.sum = J[..., 0, 0] + J[..., 1, 1]
        self.adjugate = self.sum[..., None, None] * np.eye(2) - J
        turned = (self.adjugate @ self.mean[..., None])[..., 0]
        coupled = _inner(self.mean, turned) + self.determinant / self.snr
        self.turned_mean = turned
        self.numerator = self.sum + tasks.gain_power * coupled
        self.floor = 1e-14 * self.sum**2
        log_crb = np.log(self.numerator) - np.log(np.maximum(self.determinant, self.floor))

        sharpness = 1.0 if self.layout.mean else self.sharpness
        largest = log_crb.max(axis=1, keepdims=True)
        powers = np.exp(sharpness * (log_crb - largest))
        value = largest[:, 0] + np.log(powers.sum(axis=1)) / sharpness
        if self.layout.mean:
            value -= np.log(powers.shape[1])
        self.position_share = powers / powers.sum(axis=1, keepdims=True)
        least = tasks.min_snr[:, None] * (1 + 1 / self.sharpness)
        short = np.log(np.where(least > 0, least, 1.0)) - np.log(np.maximum(self.snr, 1e-300))
        self.shortfall = np.where(least > 0, np.maximum(short, 0.0), 0.0)
        return value + self.sharpness * np.sum(self.shortfall**2, axis=1)

    def _bound_backwards(self) -> np.ndarray:
        gain_power = self.tasks.gain_power
        numerator = self.position_share / self.numerator
        sound = self.determinant > self.floor
        determinant = np.where(sound, -self.position_share / self.determinant, 0.0)
        total = numerator - np.where(sound, 0.0, 2 * self.position_share / self.sum)
        coupled = numerator * gain_power
        determinant += coupled / self.snr
        snr = -coupled * self.determinant / self.snr**2
        snr -= 2 * self.sharpness * self.shortfall / np.maximum(self.snr, 1e-300)
        mean = 2 * coupled[..., None] * self.turned_mean
        adjugate = coupled[..., None, None] * np.real(_outer(self.mean))
        total += adjugate[..., 0, 0] + adjugate[..., 1, 1]
        # The gradient of a symmetric matrix.
        inner = (total + determinant * self.sum)[..., None, None] * np.eye(2)
        own = inner - determinant[..., None, None] * self.information - adjugate
        own = (self.scale[..., None, None] * own)[:, None]

        deviation = 2 * (own @ self.deviation[..., None])[..., 0]
        root = np.sqrt(self.product)
        slope = deviation * root[..., None]
        mean = (mean - slope.sum(axis=1)) * _ratio(1.0, self.total)[..., None]
        inverse = _ratio(1.0, self.product)
        product = _inner(deviation, self.spread) * root * inverse / 2
        product -= _inner(slope, self.slope) * inverse
        product += (snr * self.scale / 2 - _inner(mean, self.mean))[:, None]
        cross = (mean[:, None] + slope * inverse[..., None])[:, :, :, None]

        # The two matrices enter alike: each is weighted by the corner of the other.
        schur = self.other[..., None, None] * own[:, :, :, None]
        row = cross * self.other[..., None] - (schur @ self.share[..., None])[..., 0] * 2
        corner = product[..., None] * self.other
        corner += (_inner(cross, self.row) + np.sum(own[:, :, :, None] * self.schur, axis=(4, 5)))[
            ..., ::-1
        ]
        corner += _inner(self.share, (schur @ self.share[..., None])[..., 0])
        found = np.zeros(self.matrices.shape, dtype=complex)
        found[..., 1:, 1:] = schur
        found[..., 0, 1:] = row
        found[..., 0, 0] = corner
        return found


def _root_power_factor(
    power: np.ndarray, wanted: np.ndarray, sharpness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Root of `parametrization.power_factor`, and by how much its log falls with log(wanted)."""
    ratio = wanted / power
    log_ratio = sharpness * np.log(np.maximum(ratio, 1e-100))
    root = np.exp(-np.logaddexp(0.0, log_ratio) / (2 * sharpness))
    turn = np.exp(-np.logaddexp(0.0, -log_ratio)) / 2
    return root, np.where(ratio > 1e-100, turn, 0.0)


def _solved(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solution of each linear system, NaN where there is none."""
    try:
        return np.linalg.solve(matrices, right)
    except np.linalg.LinAlgError:
        return np.full_like(right, np.nan)


def _inner(first: np.ndarray, second: np.ndarray, axes: int = 1) -> np.ndarray:
    """Real inner product over the last axes."""
    if axes > 1:
        first = first.reshape(*first.shape[:-axes], -1)
        second = second.reshape(*second.shape[:-axes], -1)
    return np.vecdot(first, second).real


def _outer(rows: np.ndarray) -> np.ndarray:
    return np.conj(rows)[..., :, None] * rows[..., None, :]


def _square(numbers: np.ndarray) -> np.ndarray:
    return numbers.real**2 + numbers.imag**2


def _ratio(above: np.ndarray | float, below: np.ndarray) -> np.ndarray:
    """The ratio, 0 where the denominator is not positive, or so small that it could overflow."""
    positive = below > 1e-290
    return np.where(positive, above / np.where(positive, below, 1.0), 0.0)


def _real_pairs(numbers: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(numbers).view(float)
