"""Sites with several paths or large surfaces: beyond both papers."""
