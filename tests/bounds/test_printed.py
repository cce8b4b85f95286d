"""Truths: the printed equations evaluated literally in NumPy, and the corrections told apart."""

import numpy as np
import pytest

from heliostat.bounds.pose import error_bounds, pose_information
from heliostat.bounds.printed import pose_information_as_printed
from tests.support.scenes import localization_scene

C = 299792458.0


def literal(position, heading, focus, side, n_b, n_m, bandwidth):
    """Appendices A and B for every beam pair, with sums (59)-(67), in a Python loop."""
    q, v, p = np.array([0, 0, 40.0]), np.array([-20, 20, 30.0]), np.array(position)
    d1, d2 = np.linalg.norm(v - q), np.linalg.norm(p - v)
    lam, power, t_s, n_0 = C / 60e9, 10**-0.3, 67e-6, 1e-11 / bandwidth
    k = np.pi  # 2 pi d / lambda at half a wavelength

    def angles(where):
        dx, dy, _ = where - v
        azimuth = np.arcsin(dy / np.hypot(dx, dy))
        return azimuth, np.arccos(v[2] / np.linalg.norm(where - v))

    def a_irs(az, el):
        up = np.exp(1j * k * np.arange(side) * np.cos(el))
        along = np.exp(1j * k * np.arange(side) * np.sin(az) * np.sin(el))
        return np.kron(up, along)

    az1 = np.arcsin((v - q)[1] / np.hypot(*(v - q)[:2]))
    arrive = a_irs(az1, np.arccos((v - q)[2] / d1))
    az, el = angles(p)
    theta = a_irs(*angles(np.array(focus))) * arrive.conj()
    index_p = np.tile(np.arange(side), side)
    index_q = np.repeat(np.arange(side), side)
    c_a = 1j * k * index_p * np.cos(az) * np.sin(el)
    c_e = 1j * k * (index_p * np.sin(az) * np.cos(el) - index_q * np.sin(el))
    leave = a_irs(az, el)
    g_irs = leave.conj() @ (theta * arrive)
    g_a = (leave.conj() * c_a.conj()) @ (theta * arrive)
    g_e = (leave.conj() * c_e.conj()) @ (theta * arrive)
    across = (p - v)[0] * np.cos(heading) - (p - v)[1] * np.sin(heading)
    rx = np.arcsin(across / d2)
    h_tilde = lam / (4 * np.pi * (d1 + d2))
    j_eta = np.zeros((6, 6))
    for m_b in range(n_b):
        for m_m in range(n_m):
            w_b = np.exp(-2j * np.pi * m_b * np.arange(n_b) / n_b) / np.sqrt(n_b)
            w_m = np.exp(-2j * np.pi * m_m * np.arange(n_m) / n_m) / np.sqrt(n_m)
            a_tx = np.exp(1j * k * np.arange(n_b) * (v - q)[0] / d1)
            a_rx = np.exp(1j * k * np.arange(n_m) * np.sin(rx))
            c_rx = 1j * k * np.arange(n_m) * np.cos(rx)
            g_tx, g_rx, g_rx_bar = a_tx.conj() @ w_b, w_m.conj() @ a_rx, w_m.conj() @ (c_rx * a_rx)
            du = np.array(
                [
                    0,
                    h_tilde * g_rx_bar * g_irs * g_tx,
                    h_tilde * g_rx * g_a * g_tx,
                    h_tilde * g_rx * g_e * g_tx,
                    g_rx * g_irs * g_tx,
                    1j * g_rx * g_irs * g_tx,
                ]
            )
            j = np.real(np.outer(du.conj(), du))
            j[0, 0] = np.pi**2 * bandwidth**2 / 3 * abs(h_tilde * g_rx * g_irs * g_tx) ** 2
            j[5, 5] *= -1  # (76)
            j_eta += power * t_s / n_0 * j
    dx, dy = (p - v)[:2]
    ground, height, root = np.hypot(dx, dy), v[2], np.sqrt(d2**2 - across**2)
    decay = -lam / (4 * np.pi) / (d1 + d2) ** 2 / d2
    t = np.zeros((3, 6))
    t[0] = [
        dx / C / d2,
        (np.cos(heading) - dx * across / d2**2) / root,
        -dy / ground**2,
        height * dx / d2**2 / np.sqrt(d2**2 - height**2),
        decay * dx,
        0,
    ]
    t[1] = [
        dy / C / d2,
        -(np.sin(heading) + dy * across / d2**2) / root,
        dx / ground**2,
        height * dy / d2**2 / np.sqrt(d2**2 - height**2),
        decay * dy,
        0,
    ]
    t[2, 1] = -(dx * np.sin(heading) + dy * np.cos(heading)) / root
    return t @ j_eta @ t.T


@pytest.mark.parametrize("focus", [(20.0, 40.0, 0.0), (23.0, 38.0, 0.0)])
def test_equals_the_printed_equations_over_every_beam_pair(focus):
    position, heading = (20.0, 40.0, 0.0), 0.8
    expected = literal(position, heading, focus, 3, 4, 5, 100e6)
    scene = localization_scene(
        columns=3, rows=3, position=position, heading=heading, focus=focus, user_antennas=5
    )
    np.testing.assert_allclose(
        pose_information_as_printed(scene, 4).information, expected, rtol=1e-8
    )


def test_what_is_left_between_printed_and_right_is_the_vertical_sign():
    # One row of elements has no vertical cosine: only 2/N0 against 1/N0 and (117) remain, and
    # (117)'s minus is of the size of the path loss's own information, some 1e-7 here.
    scene = localization_scene(columns=8, rows=1)
    printed = error_bounds(pose_information_as_printed(scene, 8))
    right = error_bounds(pose_information(scene, 8))
    np.testing.assert_allclose(np.divide(printed, right), np.sqrt(2), rtol=1e-4)


def test_printed_matrix_is_indefinite_in_a_narrow_band_and_gives_inf():
    # With a gain that is purely imaginary the minus of (117) meets the delay's information.
    scene = localization_scene(bandwidth=1e6, columns=1, rows=1, gain=1j)
    information = np.asarray(pose_information_as_printed(scene, 8).information)
    scale = np.sqrt(np.abs(np.diag(information)))
    assert np.linalg.eigvalsh(information / np.outer(scale, scale))[0] < -1e-6
    peb, reb = error_bounds(pose_information_as_printed(scene, 8))
    assert np.isinf(peb)
    assert not np.isnan(reb)


def test_behind_the_surface_the_printed_slope_is_wrong():
    # (9) is an arcsin: for p_x < v_x its slope has the other sign than (90), (96) print.
    scene = localization_scene(position=(-60.0, 40.0, 0.0), focus=(-60.0, 40.0, 0.0))
    printed = np.asarray(error_bounds(pose_information_as_printed(scene, 8)))
    right = np.asarray(error_bounds(pose_information(scene, 8)))
    assert np.max(np.abs(np.log(printed / right / np.sqrt(2)))) > np.log(1.05)
