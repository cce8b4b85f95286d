"""A small site for placement: a street along x that meets one along y, with three buildings."""

import heliostat as hs

CORNER = {
    "system": "localization",
    "carrier": {"frequency": "28 GHz", "bandwidth": "100 MHz"},
    "base_station": {
        "position": [-12, 2, 5],
        "antennas": 4,
        "power": "20 dBm",
        "axis": [0, 1, 0],
    },
    "surface": {"position": [6, 2, 4], "rows": 8, "columns": 8, "azimuth": "180 deg"},
    "user": {"position": [3, -7, 1.5], "heading": "20 deg", "antennas": 4},
    "obstacles": [
        {"name": "corner", "footprint": [[-15, -15], [0, -15], [0, 0], [-15, 0]], "height": "9 m"},
        {"name": "east", "footprint": [[6, -15], [12, -15], [12, 12], [6, 12]], "height": "9 m"},
        {"name": "north", "footprint": [[-15, 6], [6, 6], [6, 12], [-15, 12]], "height": "9 m"},
    ],
    "link": {"noise": "-90 dBm"},
    "frame": {"pilot": "20 us", "optimization": "1 ms", "period": "10 ms"},
    "model": {"clock": "unknown"},
}
"""The user is around the corner; the walls east/west and north/south can be in sight of both."""

AREA = [0.0, 6.0, -12.0, 0.0]
"""The street along y."""


def corner(**overrides):
    return hs.load(CORNER, {key.replace("__", "."): value for key, value in overrides.items()})
