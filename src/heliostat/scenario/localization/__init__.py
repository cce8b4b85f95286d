"""Localization scenarios."""
