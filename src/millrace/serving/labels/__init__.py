"""Late labels: found, checked and joined to predictions."""
