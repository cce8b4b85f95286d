"""The working process: what happens in one communication period, and from one to the next."""
