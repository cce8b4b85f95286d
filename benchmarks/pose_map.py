"""PEB maps: the closed form against the paper's appendices in NumPy and the literal double loop."""

import numpy as np

import heliostat as hs
from benchmarks import printed_numpy
from benchmarks.timing import Row, paired, peak_memory, seconds
from heliostat.maps.localization import Steering, quantity_at

COUNT = 1_000_000
FOCUS = [20.0, 40.0, 0.0]
SIDE, ACTIVE, ANTENNAS = 16, 32, 32
PAPER = {"surface.rows": SIDE, "surface.columns": SIDE, "surface.focus": FOCUS}
HONEST = {
    **PAPER,
    "model.gain": "unknown",
    "surface.sweep": [[0.9, 0], [-0.9, 0], [0, 0.9], [0, -0.9]],
}
MEMORY = f"""
import numpy as np, heliostat as hs
from heliostat.maps.localization import Steering, quantity_at
scene = hs.load("localization-table-1", {PAPER!r}).build()
x, y = np.meshgrid(np.linspace(0, 60, 1000), np.linspace(0, 80, 1000))
places = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
quantity_at(scene, places, "peb", {ACTIVE}, Steering(False))
"""


def run() -> list[Row]:
    """The four figures of the map, on the same positions."""
    rng = np.random.default_rng(0)
    places = np.stack(
        [rng.uniform(0, 60, COUNT), rng.uniform(0, 80, COUNT), np.zeros(COUNT)], axis=1
    )
    known = hs.load("localization-table-1", PAPER).build()
    unknown = hs.load("localization-table-1", HONEST).build()

    def of(scene, as_printed=False):
        return quantity_at(scene, places, "peb", ACTIVE, Steering(False), as_printed=as_printed)

    def numpy_map():
        return printed_numpy.peb_map(places, FOCUS, SIDE, ACTIVE, ANTENNAS)

    # The baseline is a fair one only if it computes the same numbers.
    printed = of(known, as_printed=True)
    sample = numpy_map()
    both = np.isfinite(printed) & np.isfinite(sample)
    assert both.mean() > 0.99
    np.testing.assert_allclose(sample[both], printed[both], rtol=1e-3)
    loop_peb = printed_numpy.literal_peb(places[0], FOCUS, SIDE, ACTIVE, ANTENNAS)
    np.testing.assert_allclose(loop_peb, sample[0], rtol=1e-6)

    slow, fast, ratio = paired(numpy_map, lambda: of(known), rounds=3)
    honest, again, dearer = paired(lambda: of(unknown), lambda: of(known))
    loop = min(
        seconds(lambda i=i: printed_numpy.literal_peb(places[i], FOCUS, SIDE, ACTIVE, ANTENNAS))
        for i in range(5)
    )
    memory = peak_memory(MEMORY) / 2**30
    idle = peak_memory("import heliostat.maps.localization") / 2**30
    return [
        Row(
            "PEB map, 10^6 positions, N = 256: over Appendices A-C in NumPy",
            f"{ratio:.1f}x ({slow:.2f} s / {fast:.3f} s)",
            "3x",
            ratio >= 3,
        ),
        Row(
            "one position: over the literal loop of 1024 beam pairs",
            f"{loop / (fast / COUNT):,.0f}x ({loop * 1e3:.1f} ms / {fast / COUNT * 1e6:.2f} us)",
            "100,000x",
            loop / (fast / COUNT) >= 1e5,
        ),
        Row(
            "gain unknown, 4 configurations: over the known-gain map",
            f"{dearer:.1f}x the time ({honest:.2f} s / {again:.3f} s)",
            "within 6x",
            dearer <= 6,
        ),
        Row(
            "peak memory of that map, a process of its own",
            f"{memory:.2f} GiB ({idle:.2f} GiB of it imports)",
            "under 1 GB",
            memory * 2**30 < 1e9,
        ),
    ]
