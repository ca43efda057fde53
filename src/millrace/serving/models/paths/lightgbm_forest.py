"""The trees of a LightGBM model, out of its own dump."""

from __future__ import annotations

from typing import Any

import numpy as np

from millrace.serving.models.paths.forest import Forest, Link, Tree
from millrace.serving.models.paths.path import Unsuitable

# LightGBM drops smaller values from a row, so that they count as zero.
_ZERO = float(np.float32(1e-35))
_WRITTEN_FOR_INFINITY = 1e300
_LINKS: dict[str, Link] = {
    "binary": "sigmoid",
    "multiclass": "softmax",
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}


def lightgbm_forest(model: Any) -> Forest:
    """The trees that an `LGBMClassifier` or `LGBMRegressor` predicts with: those up to the best iteration.

    Raises:
        Unsuitable: categorical splits, linear leaves, zeros that count as missing, an objective that is not known.
    """
    dump = model.booster_.dump_model(num_iteration=model.best_iteration_ or None)
    name, *details = dump["objective"].split()
    if name not in _LINKS or any(detail != "sigmoid:1" and "num_class" not in detail for detail in details):
        raise Unsuitable(f"its objective is {dump['objective']}")
    if dump.get("average_output"):
        raise Unsuitable("its trees are averaged")
    outputs = dump["num_tree_per_iteration"]
    trees = [_tree(tree["tree_structure"], number % outputs) for number, tree in enumerate(dump["tree_info"])]
    return Forest(trees, np.zeros(outputs), strict=False, rounded=False, single=False, link=_LINKS[name])


def _tree(root: dict[str, Any], target: int) -> Tree:
    # Nodes are visited in the order in which they are numbered, without recursion: trees may be deep.
    nodes, waiting = [], [root]
    for node in waiting:
        nodes.append(node)
        waiting += [node[side] for side in ("left_child", "right_child") if side in node]
    inner = np.array(["left_child" in node for node in nodes])
    child = np.cumsum(inner) * 2 - 1  # the number of an inner node's left child
    return Tree(
        np.where(inner, child, -1),
        np.where(inner, child + 1, -1),
        np.array([node.get("split_feature", 0) for node in nodes]),
        np.array([_threshold(node) for node in nodes]),
        np.array([_missing_left(node) for node in nodes]),
        np.array([node.get("leaf_value", 0.0) for node in nodes])[:, None],
        (target,),
    )


def _threshold(node: dict[str, Any]) -> float:
    if "leaf_coeff" in node:
        raise Unsuitable("its leaves are linear")
    if "left_child" not in node:
        return 0.0
    if node["decision_type"] != "<=":
        raise Unsuitable("it has splits by category")
    threshold = float(node["threshold"])
    return float(np.copysign(np.inf, threshold)) if abs(threshold) >= _WRITTEN_FOR_INFINITY else _beside_zero(threshold)


def _beside_zero(threshold: float) -> float:
    """The threshold that leaves all that counts as zero on the side of zero."""
    if -_ZERO <= threshold < 0.0:
        return float(np.nextafter(-_ZERO, -np.inf))
    return _ZERO if 0.0 <= threshold <= _ZERO else threshold


def _missing_left(node: dict[str, Any]) -> bool:
    """Where NaN goes: LightGBM takes it for zero where training saw no missing value."""
    kind = node.get("missing_type", "NaN")
    if kind == "Zero":
        raise Unsuitable("zeros count as missing")
    return bool(node["threshold"] >= 0.0) if kind == "None" else bool(node.get("default_left", False))
