"""The families of models: their defaults, what is searched of them, and how they are built."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from millrace.automl.types import Family, Problem

Searched = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Space:
    """One family.

    Attributes:
        family: its name.
        classifier, regressor: what is built, as `package.Class`.
        default: the searched values that a user who does not search would take.
        suggest: asks an Optuna trial for values, given the number of rows of a fit and of columns.
        arguments: from searched values to the arguments of the class, seed and threads not among them.
        scale: whether inputs are imputed and standardised.
        framework: what `exclude_frameworks` names it by.
    """

    family: Family
    classifier: str
    regressor: str
    default: Searched
    suggest: Callable[[Any, int, int], Searched]
    arguments: Callable[[Searched, Problem], dict[str, object]]
    scale: bool
    framework: str

    def estimator(self, problem: Problem) -> str:
        """The class, as `package.Class`."""
        return self.classifier if problem.task == "classification" else self.regressor

    def params(self, searched: Searched, problem: Problem, seed: int) -> dict[str, object]:
        """All arguments of the class, in order, with seed and one thread."""
        fixed: dict[str, object] = {"random_state": seed}
        if self.family in {"lightgbm", "xgboost"}:
            fixed["n_jobs"] = 1
        if self.family == "dummy":
            fixed = {}
        return {**self.arguments(searched, problem), **fixed}


def build(estimator: str, params: Mapping[str, object]) -> Any:
    """An unfitted estimator by its class's name and its arguments."""
    module, _, name = estimator.rpartition(".")
    return getattr(import_module(module), name)(**params)


def spaces(exclude: frozenset[str] = frozenset()) -> tuple[Space, ...]:
    """The families, cheapest first, without the excluded frameworks."""
    return tuple(space for space in _SPACES if space.framework not in exclude and space.family not in exclude)


def space_of(family: Family) -> Space:
    """The family of that name."""
    return next(space for space in _SPACES if space.family == family)


def _dummy(_: Searched, problem: Problem) -> dict[str, object]:
    return {"strategy": "prior" if problem.task == "classification" else "mean"}


def _linear(searched: Searched, problem: Problem) -> dict[str, object]:
    if problem.task == "regression":
        return {"alpha": 1.0 / _number(searched["C"])}
    return {"C": searched["C"], "max_iter": 300}


def _suggest_linear(trial: Any, _rows: int, _columns: int) -> Searched:
    return {"C": trial.suggest_float("linear_C", 1e-4, 1e2, log=True)}


def _hist_gb(searched: Searched, _: Problem) -> dict[str, object]:
    return {**searched, "early_stopping": False}


def _suggest_hist_gb(trial: Any, rows: int, _columns: int) -> Searched:
    return {
        "max_iter": trial.suggest_int("hist_gb_max_iter", 20, 1000, log=True),
        "learning_rate": trial.suggest_float("hist_gb_learning_rate", 0.01, 0.3, log=True),
        "max_leaf_nodes": trial.suggest_int("hist_gb_max_leaf_nodes", 3, _most_leaves(rows), log=True),
        "min_samples_leaf": trial.suggest_int("hist_gb_min_samples_leaf", 2, _most_in_leaf(rows), log=True),
        "l2_regularization": trial.suggest_float("hist_gb_l2_regularization", 1e-6, 30.0, log=True),
        "max_features": trial.suggest_float("hist_gb_max_features", 0.2, 1.0),
    }


def _lightgbm(searched: Searched, _: Problem) -> dict[str, object]:
    return {**searched, "subsample_freq": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1}


def _suggest_lightgbm(trial: Any, rows: int, _columns: int) -> Searched:
    return {
        "n_estimators": trial.suggest_int("lightgbm_n_estimators", 20, 1000, log=True),
        "learning_rate": trial.suggest_float("lightgbm_learning_rate", 0.01, 0.3, log=True),
        "num_leaves": trial.suggest_int("lightgbm_num_leaves", 3, _most_leaves(rows), log=True),
        "min_child_samples": trial.suggest_int("lightgbm_min_child_samples", 2, _most_in_leaf(rows), log=True),
        "colsample_bytree": trial.suggest_float("lightgbm_colsample_bytree", 0.2, 1.0),
        "subsample": trial.suggest_float("lightgbm_subsample", 0.5, 1.0),
        "reg_alpha": trial.suggest_float("lightgbm_reg_alpha", 1e-6, 10.0, log=True),
        "reg_lambda": trial.suggest_float("lightgbm_reg_lambda", 1e-6, 30.0, log=True),
    }


def _xgboost(searched: Searched, _: Problem) -> dict[str, object]:
    return {**searched, "tree_method": "hist"}


def _suggest_xgboost(trial: Any, rows: int, _columns: int) -> Searched:
    deepest = max(3, min(10, int(math.log2(max(rows, 16))) - 1))
    return {
        "n_estimators": trial.suggest_int("xgboost_n_estimators", 20, 1000, log=True),
        "learning_rate": trial.suggest_float("xgboost_learning_rate", 0.01, 0.3, log=True),
        "max_depth": trial.suggest_int("xgboost_max_depth", 2, max(deepest, 6)),
        "min_child_weight": trial.suggest_float("xgboost_min_child_weight", 0.1, 30.0, log=True),
        "colsample_bytree": trial.suggest_float("xgboost_colsample_bytree", 0.2, 1.0),
        "subsample": trial.suggest_float("xgboost_subsample", 0.5, 1.0),
        "reg_alpha": trial.suggest_float("xgboost_reg_alpha", 1e-6, 10.0, log=True),
        "reg_lambda": trial.suggest_float("xgboost_reg_lambda", 1e-6, 30.0, log=True),
    }


def _most_leaves(rows: int) -> int:
    return max(31, min(256, rows // 20))


def _most_in_leaf(rows: int) -> int:
    return max(20, min(200, rows // 10))


def _number(value: object) -> float:
    return float(value)  # type: ignore[arg-type]


_SKLEARN = "sklearn"
_SPACES = (
    Space(
        "dummy",
        "sklearn.dummy.DummyClassifier",
        "sklearn.dummy.DummyRegressor",
        {},
        lambda *_: {},
        _dummy,
        scale=False,
        framework=_SKLEARN,
    ),
    Space(
        "linear",
        "sklearn.linear_model.LogisticRegression",
        "sklearn.linear_model.Ridge",
        {"C": 1.0},
        _suggest_linear,
        _linear,
        scale=True,
        framework=_SKLEARN,
    ),
    Space(
        "lightgbm",
        "lightgbm.LGBMClassifier",
        "lightgbm.LGBMRegressor",
        {
            "n_estimators": 100,
            "learning_rate": 0.1,
            "num_leaves": 31,
            "min_child_samples": 20,
            "colsample_bytree": 1.0,
            "subsample": 1.0,
            "reg_alpha": 1e-6,
            "reg_lambda": 1e-6,
        },
        _suggest_lightgbm,
        _lightgbm,
        scale=False,
        framework="lightgbm",
    ),
    Space(
        "xgboost",
        "xgboost.XGBClassifier",
        "xgboost.XGBRegressor",
        {
            "n_estimators": 100,
            "learning_rate": 0.1,
            "max_depth": 6,
            "min_child_weight": 1.0,
            "colsample_bytree": 1.0,
            "subsample": 1.0,
            "reg_alpha": 1e-6,
            "reg_lambda": 1.0,
        },
        _suggest_xgboost,
        _xgboost,
        scale=False,
        framework="xgboost",
    ),
    Space(
        "hist_gb",
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.ensemble.HistGradientBoostingRegressor",
        {
            "max_iter": 100,
            "learning_rate": 0.1,
            "max_leaf_nodes": 31,
            "min_samples_leaf": 20,
            "l2_regularization": 1e-6,
            "max_features": 1.0,
        },
        _suggest_hist_gb,
        _hist_gb,
        scale=False,
        framework=_SKLEARN,
    ),
)
