"""Bounds and rates over an area."""
