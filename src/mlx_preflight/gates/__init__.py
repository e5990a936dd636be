"""One module per quality gate."""
