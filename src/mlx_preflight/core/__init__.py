"""Building blocks: errors, results, text, units, paths. Standard library only."""
