"""The whole loop, replayed over the lake's own history under several retraining policies."""

from __future__ import annotations
