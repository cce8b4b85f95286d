"""Quantities over an area."""
