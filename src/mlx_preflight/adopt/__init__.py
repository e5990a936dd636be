"""Gates for another repository: survey its layout, propose files, write them."""
