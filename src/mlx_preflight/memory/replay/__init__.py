"""A simulator of MLX's allocator: the peak of a traced graph."""
