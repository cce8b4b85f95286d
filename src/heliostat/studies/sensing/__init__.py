"""The figures of the sensing paper, one file each, named after the figure, and two beyond it."""
