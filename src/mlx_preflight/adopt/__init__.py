"""Bring the pipeline to another repository: look at its layout, propose files, write them."""
