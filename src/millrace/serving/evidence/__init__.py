"""What is known of the steps of a canary, out of the inference tables."""
