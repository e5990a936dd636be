"""Tests of memory/replay."""
