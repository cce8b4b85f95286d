"""Estimators of poses, directions and positions, with covariances and flags."""
