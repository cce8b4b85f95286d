"""Figures from results and datasets; no physics."""
