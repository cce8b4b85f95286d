"""Cramér-Rao bounds."""
