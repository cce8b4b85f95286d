"""The localization paper's Appendices A to C as a user would write them: NumPy, angles, 6x6.

Two forms: vectorized over positions, with the surface's sum over elements split into its two
Kronecker factors (a good vectorization; the plain sum over all N elements is slower still), and
the literal double loop over beam pairs for one position. Independent of heliostat.
"""

import numpy as np

C = 299_792_458.0
WAVELENGTH = C / 60e9
POWER, PILOT, BANDWIDTH, NOISE = 10**-0.3, 67e-6, 100e6, 1e-11
BS, IRS = np.array([0.0, 0.0, 40.0]), np.array([-20.0, 20.0, 30.0])
HEADING = np.pi / 4
D_1 = float(np.linalg.norm(IRS - BS))


def angles(position):
    """(9) and (11)."""
    dx, dy = position[..., 0] - IRS[0], position[..., 1] - IRS[1]
    distance = np.linalg.norm(position - IRS, axis=-1)
    return np.arcsin(dy / np.hypot(dx, dy)), np.arccos(IRS[2] / distance)


def peb_map(positions, focus, side, n_b, n_m, chunk=20_000):
    """(37) at many positions, the surface steered at one focus."""
    return np.concatenate(
        [
            _peb(positions[i : i + chunk], focus, side, n_b, n_m)
            for i in range(0, len(positions), chunk)
        ]
    )


def _peb(position, focus, side, n_b, n_m):
    dx, dy = position[:, 0] - IRS[0], position[:, 1] - IRS[1]
    distance = np.linalg.norm(position - IRS, axis=1)
    ground = np.hypot(dx, dy)
    cos_h, sin_h = np.cos(HEADING), np.sin(HEADING)
    across = dx * cos_h - dy * sin_h
    azimuth, elevation = angles(position)
    arrival = np.arcsin(across / distance)
    focus_azimuth, focus_elevation = angles(np.asarray(focus))

    index = np.arange(side)
    row_step = np.pi * (
        np.sin(focus_azimuth) * np.sin(focus_elevation) - np.sin(azimuth) * np.sin(elevation)
    )
    column_step = np.pi * (np.cos(focus_elevation) - np.cos(elevation))
    row = np.exp(1j * row_step[:, None] * index)
    column = np.exp(1j * column_step[:, None] * index)
    row_sum, column_sum = row.sum(axis=1), column.sum(axis=1)
    row_lag, column_lag = row @ (-1j * np.pi * index), column @ (-1j * np.pi * index)
    gamma = row_sum * column_sum
    gamma_a = row_lag * column_sum * np.cos(azimuth) * np.sin(elevation)
    gamma_e = row_lag * column_sum * np.sin(azimuth) * np.cos(elevation)
    gamma_e = gamma_e - row_sum * column_lag * np.sin(elevation)

    gain = WAVELENGTH / (4 * np.pi * (D_1 + distance))
    strength = np.abs(gamma) ** 2
    lag = -0.5j * np.pi * (n_m - 1) * np.cos(arrival)
    a = np.zeros((len(position), 6, 6))
    a[:, 0, 0] = np.pi**2 * BANDWIDTH**2 / 3 * gain**2 * strength
    a[:, 1, 1] = np.pi**2 * (n_m - 1) * (2 * n_m - 1) / 6 * np.cos(arrival) ** 2
    a[:, 1, 1] *= gain**2 * strength
    a[:, 2, 2] = gain**2 * np.abs(gamma_a) ** 2
    a[:, 3, 3] = gain**2 * np.abs(gamma_e) ** 2
    a[:, 4, 4] = strength
    a[:, 5, 5] = -strength
    a[:, 1, 2] = gain**2 * np.real(lag * gamma.conj() * gamma_a)
    a[:, 1, 3] = gain**2 * np.real(lag * gamma.conj() * gamma_e)
    a[:, 1, 4] = np.real(lag * gain) * strength
    a[:, 1, 5] = np.real(1j * lag * gain) * strength
    a[:, 2, 3] = gain**2 * np.real(gamma_a.conj() * gamma_e)
    a[:, 2, 4] = np.real(gain * gamma_a.conj() * gamma)
    a[:, 2, 5] = np.real(1j * gain * gamma_a.conj() * gamma)
    a[:, 3, 4] = np.real(gain * gamma_e.conj() * gamma)
    a[:, 3, 5] = np.real(1j * gain * gamma_e.conj() * gamma)
    upper = np.triu_indices(6, 1)
    a[:, upper[1], upper[0]] = a[:, upper[0], upper[1]]
    a *= n_b * n_m * POWER * PILOT * BANDWIDTH / NOISE

    t = _jacobian(dx, dy, distance, ground, across, cos_h, sin_h)
    covariance = np.linalg.inv(t @ a @ t.transpose(0, 2, 1))
    with np.errstate(invalid="ignore"):  # the printed matrix need not be positive
        return np.sqrt(covariance[:, 0, 0] + covariance[:, 1, 1])


def _jacobian(dx, dy, distance, ground, across, cos_h, sin_h):
    """(88)-(102)."""
    broadside = np.sqrt(distance**2 - across**2)
    decay = -WAVELENGTH / (4 * np.pi) / (D_1 + distance) ** 2 / distance
    t = np.zeros((len(dx), 3, 6))
    t[:, 0, 0], t[:, 1, 0] = dx / (C * distance), dy / (C * distance)
    t[:, 0, 1] = (cos_h - dx * across / distance**2) / broadside
    t[:, 1, 1] = -(sin_h + dy * across / distance**2) / broadside
    t[:, 0, 2], t[:, 1, 2] = -dy / ground**2, dx / ground**2
    fall = IRS[2] / (distance**2 * np.sqrt(distance**2 - IRS[2] ** 2))
    t[:, 0, 3], t[:, 1, 3] = fall * dx, fall * dy
    t[:, 0, 4], t[:, 1, 4] = decay * dx, decay * dy
    t[:, 2, 1] = -(dx * sin_h + dy * cos_h) / broadside
    return t


def literal_peb(position, focus, side, n_b, n_m):
    """(31), (32) at one position by the double loop over beam pairs, each from (27)-(30)."""
    position = np.asarray(position, dtype=float)
    dx, dy = position[0] - IRS[0], position[1] - IRS[1]
    distance = np.linalg.norm(position - IRS)
    across = dx * np.cos(HEADING) - dy * np.sin(HEADING)

    def panel(azimuth, elevation):
        up = np.exp(1j * np.pi * np.arange(side) * np.cos(elevation))
        along = np.exp(1j * np.pi * np.arange(side) * np.sin(azimuth) * np.sin(elevation))
        return np.kron(up, along)

    bs_azimuth = np.arcsin((IRS - BS)[1] / np.hypot(*(IRS - BS)[:2]))
    arrive = panel(bs_azimuth, np.arccos((IRS - BS)[2] / D_1))
    theta = np.diag(panel(*angles(np.asarray(focus))) * arrive.conj())  # (35)
    one = np.ones(1)
    t = _jacobian(
        dx * one,
        dy * one,
        distance * one,
        np.hypot(dx, dy) * one,
        across * one,
        np.cos(HEADING),
        np.sin(HEADING),
    )[0]
    codebook_b, codebook_m = (
        np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) / np.sqrt(n)
        for n in (n_b, n_m)
    )
    total = np.zeros((3, 3))
    for w_b in codebook_b.T:
        for w_m in codebook_m.T:
            j_eta = _one_pair(w_b, theta, w_m, panel, arrive, position, across / distance)
            total += t @ j_eta @ t.T
    covariance = np.linalg.inv(total)
    return np.sqrt(covariance[0, 0] + covariance[1, 1])


def _one_pair(w_b, theta, w_m, panel, arrive, position, sine):
    """J_eta(w_B, Theta, w_M): Appendix A, with (59)-(64) as matrix products."""
    azimuth, elevation = angles(position)
    leave, arrival = panel(azimuth, elevation), np.arcsin(sine)
    side = int(np.sqrt(len(leave)))
    p, q = np.tile(np.arange(side), side), np.repeat(np.arange(side), side)
    c_a = 1j * np.pi * p * np.cos(azimuth) * np.sin(elevation)
    c_e = 1j * np.pi * (p * np.sin(azimuth) * np.cos(elevation) - q * np.sin(elevation))
    receive = np.exp(1j * np.pi * np.arange(len(w_m)) * np.sin(arrival))
    c_rx = 1j * np.pi * np.arange(len(w_m)) * np.cos(arrival)
    transmit = np.exp(1j * np.pi * np.arange(len(w_b)) * (IRS - BS)[0] / D_1)
    g_tx = transmit.conj() @ w_b
    g_rx, g_rx_bar = w_m.conj() @ receive, w_m.conj() @ (c_rx * receive)
    gamma = leave.conj() @ theta @ arrive
    gamma_a = (leave.conj() * c_a.conj()) @ theta @ arrive
    gamma_e = (leave.conj() * c_e.conj()) @ theta @ arrive
    gain = WAVELENGTH / (4 * np.pi * (D_1 + np.linalg.norm(position - IRS)))
    slope = np.array(
        [
            0,
            gain * g_rx_bar * gamma * g_tx,
            gain * g_rx * gamma_a * g_tx,
            gain * g_rx * gamma_e * g_tx,
            g_rx * gamma * g_tx,
            1j * g_rx * gamma * g_tx,
        ]
    )
    j_eta = np.real(np.outer(slope.conj(), slope))
    j_eta[0, 0] = np.pi**2 * BANDWIDTH**2 / 3 * abs(gain * g_rx * gamma * g_tx) ** 2
    j_eta[5, 5] *= -1  # (76)
    return POWER * PILOT * BANDWIDTH / NOISE * j_eta
