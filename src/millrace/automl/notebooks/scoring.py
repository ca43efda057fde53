"""The cell that defines `score`, the metric of a search, in plain code."""

from __future__ import annotations

from textwrap import dedent, indent

from millrace.automl.notebooks.pages import Cell, code, text
from millrace.automl.types import Problem

_EPSILON = "np.finfo(np.float64).eps"

_OF_TWO = {
    "log_loss": """
        given = np.clip(said, {eps}, 1 - {eps})
        return np.average(-np.log(np.where(is_true, given, 1 - given)), weights=weights)
    """,
    "roc_auc": """
        from sklearn.metrics import roc_auc_score

        return roc_auc_score(is_true, said, sample_weight=weights) if 0 < is_true.sum() < len(is_true) else np.nan
    """,
    "pr_auc": """
        from sklearn.metrics import average_precision_score

        return average_precision_score(is_true, said, sample_weight=weights) if is_true.any() else np.nan
    """,
    "brier": """
        return np.average((said - is_true) ** 2, weights=weights)
    """,
    "accuracy": """
        return np.average((said > 0.5) == is_true, weights=weights)
    """,
    "f1": """
        from sklearn.metrics import f1_score

        return f1_score(is_true, said > 0.5, sample_weight=weights, zero_division=0)
    """,
    "precision": """
        from sklearn.metrics import precision_score

        return precision_score(is_true, said > 0.5, sample_weight=weights, zero_division=0)
    """,
    "recall": """
        from sklearn.metrics import recall_score

        return recall_score(is_true, said > 0.5, sample_weight=weights, zero_division=0)
    """,
}
_OF_MANY = {
    "log_loss": """
        given = shares[np.arange(len(truth)), truth] / shares.sum(axis=1)
        return np.average(-np.log(np.clip(given, {eps}, 1)), weights=weights)
    """,
    "roc_auc": """
        from sklearn.metrics import roc_auc_score

        there = [place for place in range(shares.shape[1]) if 0 < (truth == place).sum() < len(truth)]
        areas = [roc_auc_score(truth == place, shares[:, place], sample_weight=weights) for place in there]
        return np.mean(areas) if areas else np.nan
    """,
    "brier": """
        return np.average(((shares - np.eye(shares.shape[1])[truth]) ** 2).sum(axis=1) / 2, weights=weights)
    """,
    "accuracy": """
        return np.average(shares.argmax(axis=1) == truth, weights=weights)
    """,
    **{
        name: f"""
        from sklearn.metrics import {name}_score

        classes = range(shares.shape[1])
        return {name}_score(truth, shares.argmax(axis=1), labels=classes, average="macro", sample_weight=weights, zero_division=0)
    """
        for name in ("f1", "precision", "recall")
    },
}
_OF_NUMBERS = {
    "rmse": "return np.sqrt(np.average((said - truth) ** 2, weights=weights))",
    "mae": "return np.average(np.abs(said - truth), weights=weights)",
    "r2": """
        around = np.average((truth - np.average(truth, weights=weights)) ** 2, weights=weights)
        return 1 - np.average((said - truth) ** 2, weights=weights) / around if around > 0 else np.nan
    """,
}


def scoring(problem: Problem) -> list[Cell]:
    """The cells that define `score(model, features, truth, weights)`."""
    way = "the higher, the better" if problem.higher_is_better else "the lower, the better"
    return [text("## Score", "", f"`{problem.metric}`; {way}."), code(_lines(problem))]


def _lines(problem: Problem) -> str:
    if problem.task == "regression":
        start, body = ["    said = model.predict(features)"], _OF_NUMBERS[problem.metric]
    elif problem.is_binary:
        place = 1 if problem.positive is None else problem.classes.index(problem.positive)
        start = [
            f"    # Of the two classes, this is the one that is looked for: {problem.classes[place]!r}.",
            f"    said, is_true = model.predict_proba(features)[:, {place}].astype(np.float64), truth == {place}",
        ]
        body = _OF_TWO[problem.metric]
    else:
        start, body = ["    shares = model.predict_proba(features).astype(np.float64)"], _OF_MANY[problem.metric]
    lines = indent(dedent(body.format(eps=_EPSILON)).strip("\n "), "    ").split("\n")
    return "\n".join(["def score(model, features, truth, weights=None):", *start, *lines])
