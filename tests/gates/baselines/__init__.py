"""Tests of gates/baselines."""
