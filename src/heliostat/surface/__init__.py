"""Response, radiated power and noise of reflecting surfaces."""
