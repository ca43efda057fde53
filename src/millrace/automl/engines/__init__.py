"""FLAML and AutoGluon behind the same call: each searches in an environment of its own, since its packages are not ours."""

from __future__ import annotations
