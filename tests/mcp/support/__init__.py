"""Tests of mcp/support."""
