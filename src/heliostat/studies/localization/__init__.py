"""Figures of the localization paper, one module each."""
