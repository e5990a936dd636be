"""MCP server: the plan and the run history for agents."""
