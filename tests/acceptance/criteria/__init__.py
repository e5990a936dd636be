"""Tests of acceptance/criteria."""
