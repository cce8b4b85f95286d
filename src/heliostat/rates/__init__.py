"""How much data goes through."""
