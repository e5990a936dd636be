"""Files that hand a run's findings to people and agents."""
