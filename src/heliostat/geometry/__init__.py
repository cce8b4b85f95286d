"""Where things are and how arrays look in a direction."""
