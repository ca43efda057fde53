"""The metric tables that people and other programs read."""
