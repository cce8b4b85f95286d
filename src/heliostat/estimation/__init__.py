"""Estimators: what a receiver makes of its observations, held against the bounds."""
