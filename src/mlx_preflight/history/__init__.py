"""History of runs: log, filters, search index and trends."""
