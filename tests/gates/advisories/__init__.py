"""Tests of gates/advisories."""
