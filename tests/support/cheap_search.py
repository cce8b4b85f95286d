"""Made-up searches without computation, with the signature of the real one."""

import jax.numpy as jnp
import numpy as np

from heliostat.protocol.multi_dwell import PositionFix
from heliostat.protocol.target_search import DwellRecord, SearchRecord


def cheap_search(scene, scans, dwells, snapshots, min_snr, accuracy, key):
    """A scan without detection, one with, and focused dwells that halve the standard deviation."""
    surfaces, records, known = scene.n_surfaces, [], 0.5
    goal = known if accuracy is None else accuracy
    for number in range(dwells):
        std = np.inf if number == 0 else 2.0**-number
        place = scans.region.center if number == 0 else scene.target.position + 0.6 * std
        fix = PositionFix(
            place,
            jnp.diag(jnp.full(3, std**2 / 3)),
            scene.angles(),
            scene.target_gain,
            jnp.full(surfaces, number > 0),
            jnp.linspace(0.9, 1.1, surfaces),
            jnp.ones(surfaces),
            jnp.asarray(number > 0),
        )
        found, focused = number > 0, number > 1
        records.append(
            DwellRecord(
                focused,
                fix,
                True,
                found,
                found and focused,
                2.0 ** (1 - number),
                1e-3 / (1 + number),
                100.0 * (1 + number + np.arange(surfaces)),
            )
        )
        if found and focused and std <= goal:
            break
    return SearchRecord(records, known, goal)
