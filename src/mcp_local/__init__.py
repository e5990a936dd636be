"""Serve the plan to agents, and remember every run: MCP server, memory, index."""
