"""A request from its first byte to the last of its answer."""
