"""The cells that deal the rows into folds, and weigh them."""

from __future__ import annotations

from millrace.automl.notebooks.loading import roles
from millrace.automl.notebooks.pages import Cell, assigned, code, text
from millrace.automl.types import Search, SplitPlan

_SAYS = {
    "stratified": "Rows are dealt at random, each class in equal shares.",
    "random": "Rows are dealt at random.",
    "group": "No group is on both sides of a fold: `{column}` says who belongs together.",
    "time": "Each fold is judged on rows later than all that it was fitted on, by `{column}`.",
    "column": "`{column}` says which rows are to fit (`train`) and which judge (`validate`).",
}
_IN_TIME = '''
def in_time(when, count):
    """The first half fits, the rest is judged in equal parts, each by a model of all that is earlier; equal times stay together."""
    order = np.argsort(when, kind="stable")
    ranked = when[order]
    cuts = np.linspace(0.5, 1.0, count + 1)[:-1] * len(when)
    edges = [int(np.searchsorted(ranked, ranked[min(int(cut), len(when) - 1)])) for cut in cuts] + [len(when)]
    return [(order[:start], order[start:end]) for start, end in zip(edges[:-1], edges[1:])]
'''


def folding(search: Search) -> list[Cell]:
    """The cells that make `folds`, pairs of places to fit and to judge, and `weights`, `fit_weights` where rows weigh differently."""
    plan = search.split
    says = _SAYS[plan.kind].format(column=plan.column)
    again = f" Dealt {plan.repeats} times, since one deal of few rows says little." if plan.repeats > 1 else ""
    return [
        text("## Folds", "", says + again, *_thinned_says(plan)),
        code(
            "from sklearn.model_selection import " + _dealer(search) + "\n" if _dealer(search) else "",
            _by(search),
            _IN_TIME + "\n" if plan.kind == "time" else "",
            "folds = []",
            _deal(search),
            *_thinning(search),
            *_weights(search),
            "[(len(fit), len(judge)) for fit, judge in folds]",
        ),
    ]


def is_weighted(search: Search) -> bool:
    """Whether a fit is told the weights of its rows."""
    return search.split.weight is not None or _is_thinned(search)


def _dealer(search: Search) -> str:
    of_groups = "StratifiedGroupKFold" if search.problem.task == "classification" else "GroupKFold"
    return {"stratified": "StratifiedKFold", "random": "KFold", "group": of_groups}.get(search.split.kind, "")


def _by(search: Search) -> str:
    kind, column = search.split.kind, search.split.column
    if kind == "column":
        return f"part = frame[{column!r}].to_numpy().astype(str)"
    if kind not in {"group", "time"}:
        return ""
    way = dict(roles(search))[str(column)]
    read = f"as_{way}(frame[{column!r}])"
    if kind == "time" and way == "times":
        return f"when = {read}.astype(np.int64)"
    if kind == "time" and way != "texts":
        return f"when = {read}"
    return (
        f"{'groups' if kind == 'group' else 'when'} = np.unique(pd.Series({read}).astype(str), return_inverse=True)[1]"
    )


def _deal(search: Search) -> str:
    plan = search.split
    if plan.kind == "column":
        return 'folds += [(np.flatnonzero(part == "train"), np.flatnonzero(part == "validate"))]'
    if plan.kind == "time":
        return f"folds += in_time(when, {plan.folds})"
    more = {"stratified": "X, y", "random": "X", "group": "X, y, groups"}[plan.kind]
    return (
        f"for repeat in range({plan.repeats}):\n"
        f"    dealer = {_dealer(search)}({plan.folds}, shuffle=True, random_state={plan.seed} + repeat)\n"
        f"    folds += dealer.split({more})"
    )


def _is_thinned(search: Search) -> bool:
    return search.problem.task == "classification" and search.split.majority_kept < 1.0


def _thinned_says(plan: SplitPlan) -> list[str]:
    if plan.majority_kept >= 1.0:
        return []
    kept = f"{plan.majority_kept:.1%}"
    return [
        "",
        f"Of the largest class a fit sees {kept}, and each of these rows weighs as much more, so that probabilities stay what they are. All rows judge.",
    ]


def _thinning(search: Search) -> list[str]:
    if not _is_thinned(search):
        return []
    return [
        assigned("KEPT", search.split.majority_kept),
        "largest = np.bincount(y).argmax()",
        "for number, (fit, judge) in enumerate(folds):",
        "    of_largest = np.flatnonzero(y[fit] == largest)",
        f"    dealt = np.random.default_rng(({search.split.seed}, number)).permutation(of_largest)",
        "    folds[number] = (np.delete(fit, dealt[round(KEPT * len(dealt)) :]), judge)",
    ]


def _weights(search: Search) -> list[str]:
    column, thinned = search.split.weight, _is_thinned(search)
    if column is None and not thinned:
        return []
    weights = "np.ones(len(y))" if column is None else f"as_numbers(frame[{column!r}])"
    in_fits = "weights * np.where(y == largest, 1.0 / KEPT, 1.0)" if thinned else "weights"
    return [f"weights = {weights}", f"fit_weights = {in_fits}"]
