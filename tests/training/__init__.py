"""Tests of the sessions that judge a training run."""
