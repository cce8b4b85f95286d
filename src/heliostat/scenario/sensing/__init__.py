"""Sensing scenarios."""
