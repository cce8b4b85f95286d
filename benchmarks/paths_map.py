"""PEB maps over several paths and in the near field, against the literal sum over beam pairs."""

import numpy as np

import heliostat as hs
from benchmarks.timing import Row, seconds

EIGHT = [[1, 0], [-1, 0], [0, 1], [0, -1], [2, 0], [-2, 0], [0, 2], [0, -2]]
"""Eight configurations of both surfaces."""
SITE = {
    "obstacles": [],
    "link.direct": "clear",
    "link.codes": "none",
    "surfaces.0.sweep": EIGHT,
    "surfaces.1.sweep": EIGHT,
}
LARGE = {f"surfaces.{i}.{key}": 64 for i in (0, 1) for key in ("rows", "columns")}
POINTS = 40_000
STEP = 1e-5
"""Step of the differences in the literal form. [m], [rad]"""


def response(surface, wavelength, base_station, focus, user, spherical):
    """Response of a surface to each configuration, element by element."""
    array = surface.array
    column, row = np.arange(array.columns), np.arange(array.rows)
    step = wavelength * np.asarray(array.spacing)
    grid = (
        np.asarray(surface.position)
        + step[0] * column[None, :, None] * np.asarray(array.horizontal)
        + step[1] * row[:, None, None] * np.asarray(array.vertical)
    ).reshape(-1, 3)
    center = grid.mean(axis=0) if spherical else grid[0]

    def excess(end):
        if spherical:
            return np.linalg.norm(grid - end, axis=1) - np.linalg.norm(center - end)
        return -(grid - center) @ (end - center) / np.linalg.norm(end - center)

    across, up = np.meshgrid(column, row)
    across, up = across.ravel() * float(array.spacing[0]), up.ravel() * float(array.spacing[1])
    if spherical:  # phases are referred to the center
        across, up = across - across.mean(), up - up.mean()
    wavenumber = 2 * np.pi / wavelength
    offset = np.asarray(surface.alignment.offset)
    steered = 2 * np.pi * (offset[:, :1] * across + offset[:, 1:] * up)
    phase = steered + wavenumber * (excess(user) - excess(focus))
    return float(surface.reflection) * np.exp(1j * phase).sum(axis=1), center


def literal_peb(scene, place, antennas):
    """PEB at a place by differences of the mean, beam pair after beam pair."""
    station, user, link = scene.base_station, scene.user, scene.link
    wavelength, bandwidth = float(link.wavelength), float(link.bandwidth)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    frequency, weights = bandwidth / 2 * nodes, np.sqrt(weights / 2)
    origin, focus = np.asarray(station.position), np.append(place, float(user.position[2]))
    count = user.antennas
    axis = lambda angle: np.array([np.cos(angle), -np.sin(angle), 0.0])
    beam = lambda n: np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) / np.sqrt(n)
    transmit, receive = beam(antennas), beam(count)
    amplitude = float(link.attenuation)

    def factors(unknowns):
        x, y, heading, clock = unknowns
        end, found = np.array([x, y, focus[2]]), []
        for surface in (None, *scene.surfaces):
            if surface is None:
                via, first = origin, end
                config, gain = np.ones(len(EIGHT)), complex(scene.direct.gain)
                gain *= float(scene.direct.attenuation) * wavelength / (4 * np.pi)
                gain /= np.linalg.norm(end - origin)
                length = np.linalg.norm(end - origin)
            else:
                config, via = response(surface, wavelength, origin, focus, end, surface.spherical)
                first, hops = via, (np.linalg.norm(via - origin), np.linalg.norm(end - via))
                gain = complex(surface.gain) * amplitude * float(surface.element_area)
                gain /= 4 * np.pi * hops[0] * hops[1]
                length = sum(hops)
            leaving = (first - origin) / np.linalg.norm(first - origin)
            arriving = (end - via) / np.linalg.norm(end - via)
            tx = np.exp(
                -2j
                * np.pi
                * float(station.array.spacing)
                * np.arange(antennas)
                * (leaving @ np.asarray(station.array.axis))
            )
            rx = np.exp(
                2j * np.pi * float(user.spacing) * np.arange(count) * (arriving @ axis(heading))
            )
            delay = np.exp(-2j * np.pi * frequency * (length + clock) / 299792458.0)
            found.append((gain * config[:, None] * delay * weights, tx, rx))
        return found

    begun = np.array([*place, float(user.heading), 0.0])
    moved = [factors(begun + STEP * sign * np.eye(4)[i]) for i in range(4) for sign in (1, -1)]
    still = factors(begun)
    unknown = 3 + (not link.clock_known)
    whole = np.zeros((4 + 2 * len(still),) * 2)
    for b in range(antennas):
        for m in range(count):
            one = lambda path, b=b, m=m: (
                path[0] * (path[1] @ transmit[:, b]) * (receive[:, m].conj() @ path[2])
            )
            slopes = [
                sum(map(one, moved[2 * i])) - sum(map(one, moved[2 * i + 1])) for i in range(4)
            ]
            paths = [one(path) for path in still]
            rows = [s.ravel() / (2 * STEP) for s in slopes]
            rows += [p.ravel() for p in paths] + [1j * p.ravel() for p in paths]
            stack = np.stack(rows)
            whole += np.real(stack.conj() @ stack.T)
    energy = float(station.power) * float(scene.frame.pilot)
    whole *= 2 * energy / (float(link.noise_density) * len(EIGHT))
    kept = [*range(unknown), *range(4, len(whole))]
    scale = 1 / np.sqrt(np.diagonal(whole))[kept]
    covariance = np.linalg.inv(whole[np.ix_(kept, kept)] * np.outer(scale, scale))
    return np.sqrt((np.diagonal(covariance) * scale**2)[:2].sum())


def row(name, overrides, limit):
    """Time of a map, and its ratio to the literal sum at as many points."""
    scenario = hs.load("street-crossing", SITE | overrides)
    antennas = scenario.base_station.antennas
    places = [[4.0, -8.0], [-3.0, 9.0]]
    ours = hs.coverage(scenario, "peb", positions=places, active_antennas=antennas).peb.values
    scene = scenario.build()
    literal = [literal_peb(scene, np.array(place), antennas) for place in places]
    np.testing.assert_allclose(ours, literal, rtol=1e-3)  # differences, not derivatives
    slow = min(seconds(lambda: literal_peb(scene, np.array(places[0]), antennas)) for _ in "12")
    hs.coverage(scenario, "peb", points=POINTS)
    fast = seconds(lambda: hs.coverage(scenario, "peb", points=POINTS))
    ratio = slow / (fast / POINTS)
    return Row(
        f"{name}: over the literal sum over beam pairs",
        f"{ratio:,.0f}x ({slow * 1e3:.0f} ms a place / {fast:.1f} s in all)",
        f"1,000x, {limit} s",
        ratio >= 1000 and fast < limit,
    )


def run() -> list[Row]:
    """Maps of plane and of spherical waves."""
    return [
        row("PEB map, 40,000 places, 3 paths, K = 8", {"model.wavefront": "plane"}, 10),
        row(
            "the same with two panels of 64 x 64 and spherical waves",
            {"model.wavefront": "spherical"} | LARGE,
            60,
        ),
    ]
