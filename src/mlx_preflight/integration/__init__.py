"""Integration, regression and benchmark rows."""
