"""Tests of selftest."""
