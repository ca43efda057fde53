"""Windows as mergeable counts."""
