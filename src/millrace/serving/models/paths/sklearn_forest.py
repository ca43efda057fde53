"""The trees of scikit-learn's models."""

from __future__ import annotations

from typing import Any

import numpy as np

from millrace.serving.models.paths.forest import Forest, Link, Tree
from millrace.serving.models.paths.path import Unsuitable

_HIST_LINKS: dict[str, Link] = {"squared_error": "identity", "absolute_error": "identity", "quantile": "identity"}
_HIST_LINKS |= {"poisson": "exp", "gamma": "exp", "log_loss": "sigmoid"}


def sklearn_forest(model: Any) -> Forest | None:
    """The trees of a decision tree, a forest, or boosted trees; a constant for a dummy; None for another model.

    Raises:
        Unsuitable: splits by category, several outputs, starts or losses of another kind.
    """
    from sklearn import dummy, ensemble, tree

    if isinstance(model, tree.DecisionTreeClassifier | tree.DecisionTreeRegressor):
        return _forest([model], None)
    forests = ensemble.RandomForestClassifier | ensemble.RandomForestRegressor
    if isinstance(model, forests | ensemble.ExtraTreesClassifier | ensemble.ExtraTreesRegressor):
        return _forest(model.estimators_, float(len(model.estimators_)))
    if isinstance(model, ensemble.HistGradientBoostingClassifier | ensemble.HistGradientBoostingRegressor):
        return _hist_forest(model)
    if isinstance(model, ensemble.GradientBoostingClassifier | ensemble.GradientBoostingRegressor):
        return _boosted_forest(model)
    if isinstance(model, dummy.DummyClassifier) and model.strategy == "prior":
        return Forest((), np.asarray(model.class_prior_), strict=False, rounded=False, single=False)
    return None


def _forest(models: Any, divisor: float | None) -> Forest:
    if models[0].n_outputs_ != 1:
        raise Unsuitable("it has several outputs")
    trees = [_tree(each.tree_, tuple(range(each.tree_.value.shape[2]))) for each in models]
    base = np.zeros(len(trees[0].targets))
    return Forest(trees, base, strict=False, rounded=True, single=False, divisor=divisor)


def _tree(tree: Any, targets: tuple[int, ...], scale: float = 1.0) -> Tree:
    return Tree(
        tree.children_left,
        tree.children_right,
        tree.feature,
        tree.threshold,
        np.asarray(tree.missing_go_to_left, dtype=bool),
        tree.value[:, 0, :] * scale,
        targets,
    )


def _boosted_forest(model: Any) -> Forest:
    link: Link
    if hasattr(model, "classes_"):
        if model.loss != "log_loss":
            raise Unsuitable(f"its loss is {model.loss}")
        link = "sigmoid" if model.estimators_.shape[1] == 1 else "softmax"
    else:
        link = "identity"
    base = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))  # noqa: SLF001 - no other way
    trees = [
        _tree(each.tree_, (target,), model.learning_rate)
        for stage in model.estimators_
        for target, each in enumerate(stage)
    ]
    return Forest(trees, np.asarray(base).ravel(), strict=False, rounded=True, single=False, link=link)


def _hist_forest(model: Any) -> Forest:
    # The grown trees have no public door; the proof would notice if they changed their form.
    base = np.asarray(model._baseline_prediction).ravel()  # noqa: SLF001
    stages = model._predictors  # noqa: SLF001
    if getattr(model, "_preprocessor", None) is not None:
        raise Unsuitable("it has inputs by category")
    if model.loss not in _HIST_LINKS:
        raise Unsuitable(f"its loss is {model.loss}")
    link = "softmax" if len(base) > 1 else _HIST_LINKS[model.loss]
    trees = [_hist_tree(each.nodes, target) for stage in stages for target, each in enumerate(stage)]
    return Forest(trees, base, strict=False, rounded=False, single=False, link=link)


def _hist_tree(nodes: np.ndarray, target: int) -> Tree:
    if nodes["is_categorical"].any():
        raise Unsuitable("it has splits by category")
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        np.where(leaf, -1, nodes["left"].astype(np.int64)),
        np.where(leaf, -1, nodes["right"].astype(np.int64)),
        nodes["feature_idx"].astype(np.int64),
        nodes["num_threshold"],
        nodes["missing_go_to_left"].astype(bool),
        nodes["value"][:, None],
        (target,),
    )
