"""What the equations see: frozen pytrees."""
