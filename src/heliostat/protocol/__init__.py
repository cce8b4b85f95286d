"""Closed-loop simulations: communication periods of a tracked user, dwells of a target search."""
