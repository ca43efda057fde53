"""The trees of an XGBoost model, out of its own JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from millrace.serving.models.paths.forest import Forest, Link, Tree
from millrace.serving.models.paths.path import Unsuitable

_LINKS: dict[str, Link] = {
    "binary:logistic": "sigmoid",
    "reg:logistic": "sigmoid",
    "multi:softprob": "softmax",
    "multi:softmax": "softmax",
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
}


def xgboost_forest(model: Any) -> Forest:
    """The trees that an `XGBClassifier` or `XGBRegressor` predicts with: those up to the best iteration.

    Raises:
        Unsuitable: a linear booster, categorical splits, leaves of several values, an objective that is not known.
    """
    booster = model.get_booster()
    learner = json.loads(booster.save_raw("json"))["learner"]
    objective = learner["objective"]["name"]
    if objective not in _LINKS:
        raise Unsuitable(f"its objective is {objective}")
    parameters, link = learner["learner_model_param"], _LINKS[objective]
    trees = _trees(learner["gradient_booster"], booster.attr("best_iteration"))
    outputs = max(int(parameters["num_class"]), 1)
    base = np.array(json.loads(parameters["base_score"]), dtype=np.float32).ravel()
    return Forest(trees, _margin(np.resize(base, outputs), link), strict=True, rounded=True, single=True, link=link)


def _trees(booster: dict[str, Any], best: str | None) -> list[Tree]:
    weights = None
    if booster["name"] == "dart":
        weights, booster = booster["weight_drop"], booster["gbtree"]
    if "trees" not in booster.get("model", {}):
        raise Unsuitable(f"its booster is {booster['name']}")
    content = booster["model"]
    last = len(content["trees"]) if best is None else content["iteration_indptr"][int(best) + 1]
    return [
        _tree(tree, content["tree_info"][number], 1.0 if weights is None else weights[number])
        for number, tree in enumerate(content["trees"][:last])
    ]


def _tree(tree: dict[str, Any], target: int, weight: float) -> Tree:
    if any(tree["split_type"]):
        raise Unsuitable("it has splits by category")
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise Unsuitable("its leaves have several values")
    condition = np.array(tree["split_conditions"], dtype=np.float32)
    return Tree(
        np.array(tree["left_children"]),
        np.array(tree["right_children"]),
        np.array(tree["split_indices"]),
        condition.astype(np.float64),
        np.array(tree["default_left"], dtype=bool),
        (condition * np.float32(weight))[:, None],
        (target,),
    )


def _margin(base: np.ndarray, link: Link) -> np.ndarray:
    """The sums' start out of the base score, which is kept as an answer; in float32 as XGBoost does it."""
    one = np.float32(1)
    if link == "sigmoid":
        return -np.log(one / base - one)
    return np.log(base) if link == "exp" else base
