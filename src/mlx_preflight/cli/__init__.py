"""Commands, one thin module per topic."""
