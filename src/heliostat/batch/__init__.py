"""User-defined studies of any size."""
