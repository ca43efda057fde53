"""Decision trees of any library as one ONNX node that answers as they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

Link = Literal["identity", "sigmoid", "softmax", "exp"]
_AT_MOST, _BELOW = 0, 1  # ONNX's BRANCH_LEQ and BRANCH_LT


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree; its nodes are rows of the arrays, the root first.

    Attributes:
        left: node to go to where the condition holds; -1 in a leaf.
        right: node to go to where it does not; -1 in a leaf.
        feature: the input that an inner node looks at.
        threshold: what it is compared with, float64.
        missing_left: whether NaN goes left.
        values: nodes x t, what a leaf says to each of the tree's targets.
        targets: the t outputs that the tree adds to.
    """

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    values: np.ndarray
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees whose leaves are added up, in their order, as the library does it.

    Attributes:
        base: what each output starts from; as many as there are outputs.
        strict: `x < threshold` goes left instead of `x <= threshold`.
        rounded: inputs are rounded to float32 before they are compared.
        single: sums are float32 instead of float64.
        divisor: what the sums are divided by; None for sums.
        link: what makes the answer out of the sums.
    """

    trees: Sequence[Tree]
    base: np.ndarray
    strict: bool
    rounded: bool
    single: bool
    divisor: float | None = None
    link: Link = "identity"


def thresholds(forest: Forest) -> Mapping[int, np.ndarray]:
    """Feature to the values that it is compared with, sorted, each once."""
    if not forest.trees:
        return {}
    features = np.concatenate([tree.feature[tree.left >= 0] for tree in forest.trees])
    values = np.concatenate([tree.threshold[tree.left >= 0] for tree in forest.trees])
    return {int(feature): np.unique(values[features == feature]) for feature in np.unique(features)}


def negated(forest: Forest) -> Forest:
    """The forest whose sums are the negative ones."""
    return replace(forest, base=-forest.base, trees=[replace(tree, values=-tree.values) for tree in forest.trees])


def node_attributes(forest: Forest) -> dict[str, Any]:
    """The attributes of ONNX's `TreeEnsemble` (ai.onnx.ml 5): numpy arrays where it takes tensors, lists elsewhere.

    What outputs start from goes in as trees of one leaf each, so that sums have the library's own order. A tree with
    several targets is written once for each.
    """
    number = np.float32 if forest.single else np.float64
    one_leaf = [
        (_leaf(value), value, target)
        for target, value in enumerate(forest.base[:, None])
        if value[0] or not forest.trees
    ]
    single_target = [
        (tree, tree.values[:, at], target) for tree in forest.trees for at, target in enumerate(tree.targets)
    ]
    parts, roots, nodes, leaves = [], [], 0, 0
    for tree, values, target in [*one_leaf, *single_target]:
        part = _Part.of(tree, values, target, nodes, leaves)
        roots.append(nodes)
        parts.append(part)
        nodes, leaves = nodes + len(part.feature), leaves + len(part.weights)
    return {
        "n_targets": len(forest.base),
        "aggregate_function": 1,  # the sum
        "post_transform": 0,
        "tree_roots": roots,
        "nodes_modes": np.full(nodes, _BELOW if forest.strict else _AT_MOST, dtype=np.uint8),
        "nodes_featureids": _all([part.feature for part in parts]),
        "nodes_splits": np.concatenate([part.threshold for part in parts]).astype(number),
        "nodes_missing_value_tracks_true": _all([part.missing_left for part in parts]),
        "nodes_truenodeids": _all([part.left for part in parts]),
        "nodes_trueleafs": _all([part.left_is_leaf for part in parts]),
        "nodes_falsenodeids": _all([part.right for part in parts]),
        "nodes_falseleafs": _all([part.right_is_leaf for part in parts]),
        "leaf_targetids": _all([np.full(len(part.weights), part.target) for part in parts]),
        "leaf_weights": np.concatenate([part.weights for part in parts]).astype(number),
    }


@dataclass(frozen=True, slots=True)
class _Part:
    """One tree for one target in ONNX's form: inner nodes and leaves are numbered apart, through all trees."""

    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray
    left_is_leaf: np.ndarray
    right: np.ndarray
    right_is_leaf: np.ndarray
    weights: np.ndarray
    target: int

    @classmethod
    def of(cls, tree: Tree, values: np.ndarray, target: int, first_node: int, first_leaf: int) -> _Part:
        inner = tree.left >= 0
        if not inner.any():
            # ONNX has no tree without a node: one whose two ways end in the same leaf.
            leaf, yes, nothing = np.array([first_leaf]), np.ones(1, dtype=int), np.zeros(1, dtype=int)
            return cls(nothing, np.zeros(1), nothing, leaf, yes, leaf, yes, values[:1], target)
        number = np.where(inner, first_node + np.cumsum(inner) - 1, first_leaf + np.cumsum(~inner) - 1)
        left, right = tree.left[inner], tree.right[inner]
        return cls(
            tree.feature[inner],
            tree.threshold[inner],
            tree.missing_left[inner],
            number[left],
            ~inner[left],
            number[right],
            ~inner[right],
            values[~inner],
            target,
        )


def _leaf(value: np.ndarray) -> Tree:
    end, nothing = np.array([-1]), np.zeros(1)
    return Tree(end, end, np.zeros(1, dtype=int), nothing, nothing, value[:, None], (0,))


def _all(parts: Sequence[np.ndarray]) -> list[int]:
    return np.concatenate(parts).astype(np.int64).tolist()  # type: ignore[no-any-return]
