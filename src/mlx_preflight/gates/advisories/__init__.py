"""Known vulnerabilities: which packages, how severe, as of when."""
