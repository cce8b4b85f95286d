"""How well something can be estimated at all."""
