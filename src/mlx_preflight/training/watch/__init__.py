"""Watch of a training run: the command as it is, its output and its process tree."""
