"""Tests of `training.watch`."""
