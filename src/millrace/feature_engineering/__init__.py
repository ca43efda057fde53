"""The feature-engineering client, with the signatures people know."""

from __future__ import annotations

from millrace.feature_engineering.client import FeatureEngineeringClient
from millrace.feature_engineering.endpoint_types import (
    AutoCaptureConfig,
    EndpointCoreConfig,
    FeatureServingEndpoint,
    ServedEntity,
)
from millrace.feature_engineering.types import FeatureTable, LoggedModel, TrainingSet
from millrace.features.types import FeatureFunction, FeatureLookup

__all__ = [
    "AutoCaptureConfig",
    "EndpointCoreConfig",
    "FeatureEngineeringClient",
    "FeatureFunction",
    "FeatureLookup",
    "FeatureServingEndpoint",
    "FeatureTable",
    "LoggedModel",
    "ServedEntity",
    "TrainingSet",
]
