"""Markdown documents: parsed, and judged for structure and text."""
