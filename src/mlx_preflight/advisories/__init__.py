"""Know which packages are vulnerable, how badly, and as of when: OSV records, offline too."""
