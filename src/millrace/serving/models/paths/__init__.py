"""Ways to run a model, one module each: a fast function, and the model's own predict that it must equal."""

from __future__ import annotations
