"""Tests of criteria/markdown."""
