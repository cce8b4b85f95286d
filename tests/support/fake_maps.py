"""Maps with given values, as `heliostat.coverage` returns them."""

import numpy as np
import xarray as xr

from heliostat.api.map_quantities import QUANTITIES


def fake_map(name, value, served=None, *, near=None, user=(10.0, 20.0, 0.0), steering="fixed"):
    """A map of 4 x 5 cells from x = -30 to 20 and y = -5 to 35, with one surface at (-20, 20)."""
    quantity, every = QUANTITIES[name], np.ones((4, 5), dtype=bool)
    units = {"units": quantity.unit, "long_name": quantity.label}
    moved = "user" if quantity.system == "localization" else "target"
    return xr.Dataset(
        {
            quantity.variable: (("y", "x"), np.asarray(value, dtype=float), units),
            "served": (("y", "x"), every if served is None else served),
            "near_field": (("y", "x"), ~every if near is None else near),
            "base_station": ("xyz", np.zeros(3)),
            "surfaces": (("surface", "xyz"), np.array([[-20.0, 20.0, 3.0]])),
            "normals": (("surface", "xyz"), np.array([[1.0, 0.0, 0.0]])),
            moved: ("xyz", np.array(user)),
        },
        {"x": np.linspace(-25, 15, 5), "y": np.linspace(0, 30, 4), "z": 1.5},
        {"title": "a; b", "quantity": quantity.variable, "steering": steering, "moved": moved},
    )
