"""Endpoints as they are stored: made, changed, and prepared for serving."""
