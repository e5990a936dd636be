"""Renderings of the one report document."""
