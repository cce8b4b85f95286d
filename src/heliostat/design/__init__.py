"""Optimal designs with lower bounds on the objective."""
