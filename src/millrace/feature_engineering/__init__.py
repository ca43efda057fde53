"""The feature-engineering client, with the signatures people know."""

from __future__ import annotations

from millrace.feature_engineering.client import FeatureEngineeringClient
from millrace.feature_engineering.types import FeatureTable, LoggedModel, TrainingSet
from millrace.features.types import FeatureFunction, FeatureLookup

__all__ = ["FeatureEngineeringClient", "FeatureFunction", "FeatureLookup", "FeatureTable", "LoggedModel", "TrainingSet"]
