"""Memory that training and inference need."""
