"""A search as MLflow runs: one for the search, and nested under it one for each trial."""
