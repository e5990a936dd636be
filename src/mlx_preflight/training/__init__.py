"""Judges of a training run that somebody means to start: its config, model, data and memory."""
