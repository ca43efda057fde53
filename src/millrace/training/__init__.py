"""Candidate trainers: from a training set to a fitted, scikit-learn compatible model."""

from __future__ import annotations
