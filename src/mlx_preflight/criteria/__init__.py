"""One module per acceptance criterion."""
