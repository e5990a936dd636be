"""Checkpoints: found, read and validated without MLX."""
