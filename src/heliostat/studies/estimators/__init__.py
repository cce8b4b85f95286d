"""Estimators against their bounds, and the closed loop: beyond both papers."""
