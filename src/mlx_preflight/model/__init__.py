"""Judge a model checkpoint before and while it is loaded."""
