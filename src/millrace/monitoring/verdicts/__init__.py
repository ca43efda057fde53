"""What counts mean: verdicts with reasons."""
