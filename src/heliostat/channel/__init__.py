"""How a wave fades on its way."""
