"""Scenes: all quantities that the equations depend on, as frozen pytrees in SI units."""
