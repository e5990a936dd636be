"""The documents of `docs/training`, written from evidence."""
