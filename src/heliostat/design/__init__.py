"""What to choose, with a proof of how good the choice is."""
