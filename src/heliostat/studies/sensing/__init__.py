"""Figures of the sensing paper, one module each, and two further studies."""
