"""A small localization scenario."""

from heliostat.scenario import parse

HALL = """\
system: localization
carrier: {frequency: 30 GHz, bandwidth: 10 MHz}
base_station: {position: [10, -5, 8], antennas: 4, power: 20 dBm}
surface: {position: [0, 0, 3], rows: 8, columns: 6}
user: {position: [8, 6, 1], heading: 30 deg, antennas: 2}
link: {noise: -90 dBm}
frame: {pilot: 10 us, optimization: 1 ms, period: 2 ms}
"""


def hall(**overrides):
    return parse(HALL, {key.replace("__", "."): value for key, value in overrides.items()})
