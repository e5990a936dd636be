"""Recorded baselines: accepted findings, and the comparison with them."""
