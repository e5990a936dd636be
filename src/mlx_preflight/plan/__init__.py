"""The plan of a run: sessions, checks, profiles and a project's settings."""
