"""Cases by topic: each module has a tuple `CASES`."""
