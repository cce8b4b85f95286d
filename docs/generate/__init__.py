"""Text of the documentation that follows from the package: keys, commands, figures."""
