"""Child processes that load, ask and train a model, and what starts them."""
