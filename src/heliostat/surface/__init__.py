"""What a surface does to a wave that meets it."""
