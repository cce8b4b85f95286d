r"""Measured or ray-traced channels, read from a NumPy or MATLAB file.

The file contains ``bs_to_irs``, complex [surface, element, antenna], and optionally
``target_gain``, complex [surface], the :math:`\beta_l` of the paper. Elements are ordered with the
horizontal index varying fastest, from the corner where both panel axes start, and antennas along
the axis of the base station. Phases are for the time dependence :math:`e^{+j\omega t}` and decrease
along the path, as in the sensing paper and in most ray tracers. Surfaces with fewer elements than
the largest one are padded with rows of zeros.

**From Sionna RT.** The command ``heliostat import sionna`` writes such a file for a scenario, see
`heliostat.api.ray_tracing`. For channels from your own code, trace every pair of elements with
``synthetic_array=False``. Synthetic arrays treat each path as a plane wave, so that a direct path
alone has a channel of rank one, for which the bounds of one reflection pattern are infinite. With a
base station of one row as transmitter and one receiver per surface, ``paths.cfr([0.0],
normalize_delays=False, out_type="numpy")`` then gives [receiver, receiver antenna, transmitter,
transmitter antenna, time, subcarrier]. Sionna RT counts the antennas of a panel column by column
from the top, whereas heliostat counts elements row by row from the bottom:

>>> import numpy as np
>>> surfaces, rows, columns, antennas = 2, 4, 3, 5
>>> rng = np.random.default_rng(0)
>>> shape = (surfaces, rows * columns, 1, antennas, 1, 1)
>>> cfr = rng.normal(size=shape) + 1j * rng.normal(size=shape)   # paths.cfr(...)
>>> panel = cfr[:, :, 0, :, 0, 0].reshape(surfaces, columns, rows, antennas)
>>> bs_to_irs = panel.swapaxes(1, 2)[:, ::-1].reshape(surfaces, rows * columns, antennas)
>>> bool(bs_to_irs[1, 0, 2] == cfr[1, rows - 1, 0, 2, 0, 0])     # first column, bottom row
True
>>> bool(bs_to_irs[1, 1, 2] == cfr[1, 2 * rows - 1, 0, 2, 0, 0])  # second column, bottom row
True

``np.savez("hall.npz", bs_to_irs=bs_to_irs)`` then writes the file. Without rotation, an array of
Sionna RT faces +x and its columns are counted along +y, as in a panel with the default orientation;
a rotation by the yaw angle is the key ``azimuth``. The antennas of a row are counted along +y, too,
which is the default ``axis`` of the base station.
"""

from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex
from scipy.io import loadmat


class ImportedChannels(eqx.Module):
    """Channels to every surface, and the gains of the target if the file contains them."""

    bs_to_irs: tuple[Complex[Array, "_ tx"], ...]  # one [element tx] per surface [1]
    target_gain: Complex[Array, "surface"] | None  # beta [1]


def read_channels(path: str | Path, elements: Sequence[int], antennas: int) -> ImportedChannels:
    """Read channels and check that their shapes match the scene.

    Args:
        path: A ``.npz`` or, up to version 7, a ``.mat`` file.
        elements: Number of elements of each surface.
        antennas: Number of the base station's antennas.

    Raises:
        ValueError: The file is of another kind, lacks ``bs_to_irs``, contains numbers that are not
            finite, or its arrays do not have the shape that the scene needs.
    """
    file = Path(path)
    if file.suffix not in {".npz", ".mat"}:
        raise ValueError(f"{file.name}: channels are read from .npz and .mat files only.")
    names = ("bs_to_irs", "target_gain")
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as archive:
            found = {name: archive[name] for name in names if name in archive}
    else:
        try:
            found = loadmat(file, variable_names=names)
        except NotImplementedError as error:
            raise ValueError(f"{file.name}: save it with '-v7'; -v7.3 cannot be read.") from error
    if "bs_to_irs" not in found:
        raise ValueError(f"{file.name} has no 'bs_to_irs', complex [surface, element, antenna].")

    expected = (len(elements), max(elements), antennas)
    channels = np.asarray(found["bs_to_irs"], dtype=complex)
    # MATLAB drops a last axis of length 1, and NumPy users often the first; these are restored.
    if channels.ndim < 3 and channels.size == np.prod(expected) and 1 in expected:
        channels = channels.reshape(expected)
    if channels.shape != expected:
        raise ValueError(
            f"{file.name}: 'bs_to_irs' has the shape {channels.shape}, the scene needs "
            f"{expected}: surfaces, elements, antennas."
        )
    gain = found.get("target_gain")
    if gain is not None:
        gain = np.asarray(gain, dtype=complex)
        if gain.size != len(elements) or gain.ndim > 2:
            raise ValueError(
                f"{file.name}: 'target_gain' has the shape {gain.shape}, the scene needs "
                f"({len(elements)},): surfaces."
            )
        gain = gain.ravel()
    if not np.all(np.isfinite(channels)) or (gain is not None and not np.all(np.isfinite(gain))):
        raise ValueError(f"{file.name} contains numbers that are not finite.")
    return ImportedChannels(
        tuple(jnp.asarray(channels[i, :n]) for i, n in enumerate(elements)),
        None if gain is None else jnp.asarray(gain),
    )
