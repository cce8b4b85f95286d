"""Directions between positions, and array responses."""
