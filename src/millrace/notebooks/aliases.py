"""Imports of the vendor's feature-engineering module, answered by ours where the real one is absent. Opt-in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_OURS = "millrace.feature_engineering"
# Names that moved or were renamed, by the module that people import them from.
_MODULES = (
    "databricks.feature_engineering",
    "databricks.feature_engineering.client",
    "databricks.feature_engineering.entities",
    "databricks.feature_engineering.entities.feature_lookup",
    "databricks.feature_engineering.entities.feature_function",
    "databricks.feature_store",
    "databricks.feature_store.client",
    "databricks.feature_store.entities",
    "databricks.feature_store.entities.feature_lookup",
    "databricks.feature_store.entities.feature_function",
)
_PREFIXES = ("databricks.feature_engineering.", "databricks.feature_store.")
_RENAMED = {"FeatureStoreClient": "FeatureEngineeringClient"}
_HINTS = {
    "databricks.automl": "use millrace.automl.classify and regress",
    "databricks.sdk": "install databricks-sdk",
    "databricks.connect": "use `spark`, or millrace.spark(): it is a Spark Connect session",
}


def use_vendor_names() -> None:
    """Let `databricks.feature_engineering` and `databricks.feature_store` mean `millrace.feature_engineering`, unless they are installed.

    The first import of one says so on standard error. A second call does nothing.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())  # the last one: what is installed is found before


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self._told = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if name == "databricks":
            return ModuleSpec(name, _Empty(), is_package=True)
        if name in _MODULES:
            self._tell(name)
            return ModuleSpec(name, _Alias(), is_package=True)
        if name in _HINTS or name.startswith(_PREFIXES):
            hint = _HINTS.get(name, f"{_OURS} has all of its names in one place")
            raise ModuleNotFoundError(f"there is no module '{name}' here; {hint}", name=name)
        return None

    def _tell(self, name: str) -> None:
        if not self._told:
            self._told = True
            top = ".".join(name.split(".")[:2])
            sys.stderr.write(f"{top} is not installed: {_OURS} answers for it\n")


class _Empty(Loader):
    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in the namespace but what is below it."""


class _Alias(Loader):
    def exec_module(self, module: ModuleType) -> None:
        """Our names, under theirs."""
        from importlib import import_module

        ours = import_module(_OURS)
        for name in ours.__all__:
            setattr(module, name, getattr(ours, name))
        for old, new in _RENAMED.items():
            if "feature_store" in module.__name__:
                setattr(module, old, getattr(ours, new))
        names = sorted(name for name in vars(module) if not name.startswith("_"))
        module.__all__ = names  # type: ignore[attr-defined]
        module.__getattr__ = _missing(module.__name__, names)  # type: ignore[assignment]


def _missing(module: str, names: Sequence[str]) -> object:
    def missing(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        if f"{module}.{name}" in _MODULES:
            from importlib import import_module

            return import_module(f"{module}.{name}")
        raise ImportError(f"{_OURS} has no '{name}', which {module} was asked for; it has: {', '.join(names)}")

    return missing
