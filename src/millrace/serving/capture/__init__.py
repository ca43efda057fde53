"""What is kept of requests, from the worker's segments to the inference tables."""
