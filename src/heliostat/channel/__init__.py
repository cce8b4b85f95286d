"""Path loss, fading and imported channels."""
