"""Data rates."""
