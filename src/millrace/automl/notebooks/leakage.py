"""The exploration notebook's cells about leakage: what a model should not know, and rows that it has seen already."""

from __future__ import annotations

from millrace.automl.notebooks.pages import Cell, code, text
from millrace.automl.types import Search

_ALONE = """
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

TOO_GOOD = 0.98
MOST, PARTS = (10_000, 5) if X.shape[1] <= 200 else (2_000, 2)  # each column is fitted by itself
suspects = []
some = np.random.default_rng(0).permutation(len(X))[:MOST]


def alone(values, target):
    \"\"\"How well a column foretells the target by itself: ROC AUC (of several classes the best told one), or R2, of rows that the small tree did not see.\"\"\"
    tree = DecisionTreeClassifier if IS_CLASS else DecisionTreeRegressor
    model = tree(max_depth=4, min_samples_leaf=5, random_state=0)
    if values.dtype.kind == "M":
        values = values.astype("datetime64[us]").astype("int64").where(values.notna())
    if values.dtype.kind not in "fiu":
        model, values = make_pipeline(TargetEncoder(random_state=0), model), values.fillna("(missing)").astype(str)
    inputs = values.to_numpy().reshape(-1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not IS_CLASS:
            return r2_score(target, cross_val_predict(model, inputs, target, cv=PARTS))
        shares = cross_val_predict(model, inputs, target, cv=PARTS, method="predict_proba")
    classes = np.unique(target)
    places = [1] if len(classes) == 2 else range(len(classes))
    return max(roc_auc_score(target == classes[place], shares[:, place]) for place in places)


told = y[some]
if IS_CLASS:  # a class with too few rows for that many folds is left out here
    enough = np.isin(told, [place for place, count in enumerate(np.bincount(told)) if count >= PARTS])
    some, told = some[enough], told[enough]
scores = pd.Series({name: alone(X[name].iloc[some], told) for name in X}).sort_values(ascending=False)
shown = scores.head(20)[::-1]
fig, ax = plt.subplots(figsize=(7, 0.8 + 0.22 * len(shown)))
ax.barh(shown.index, shown, color=["tab:red" if value >= TOO_GOOD else "tab:blue" for value in shown])
ax.axvline(TOO_GOOD, color="tab:red", linewidth=1, linestyle="--")
floor = 0.5 if IS_CLASS else 0.0
ax.set(xlim=(min(floor, max(shown.min(), floor - 0.2)) - 0.01, 1.01), xlabel="ROC AUC" if IS_CLASS else "R2", title="What each input foretells by itself")
plt.show()
suspects += [(name, f"foretells the target by itself ({value:.3f})") for name, value in scores.items() if value >= TOO_GOOD]
"""
_AFTER = """
import re

LATER = re.compile(r"(?i)(outcome|result|resolution|resolved|closed|cancel|churned|refund|chargeback|settled|paid_off|final|after|status_new|label|target)")
NAMES = {names}
TIME = {time}
for name in NAMES:
    hint = LATER.search(name)
    if hint:
        suspects.append((name, f"its name ('{{hint.group()}}') sounds like something that is known afterwards"))
    if len(TARGET) > 2 and TARGET.lower() in name.lower():
        suspects.append((name, "its name has the target's name in it"))
for name in X:
    gone = X[name].isna().to_numpy()
    if 20 <= gone.sum() <= len(gone) - 20:
        if IS_CLASS:
            shares = [np.bincount(y[where], minlength=len(CLASSES)) / where.sum() for where in (gone, ~gone)]
            apart = abs(shares[0] - shares[1]).max()
        else:
            apart = abs(y[gone].mean() - y[~gone].mean()) / (y.std() * 2)
        if apart >= 0.5:
            suspects.append((name, f"whether it is missing tells the target apart ({{apart:.0%}}): it may be filled in afterwards"))
    if TIME is not None and X[name].dtype.kind == "M":
        later = (X[name] > as_times(frame[TIME])).mean()
        if later > 0:
            suspects.append((name, f"is later than {{TIME}} in {{later:.1%}} of the rows"))
"""
_TWICE = """
hashes = pd.util.hash_pandas_object(X, index=False).to_numpy()
again = pd.Series(hashes).duplicated(keep=False).to_numpy()
unlike = pd.Series(y).groupby(hashes).nunique()
print(f"{again.sum():,} of {len(X):,} rows have inputs that stand in another row too; {(unlike > 1).sum():,} of such sets of inputs have different targets")
seen_before = [np.isin(hashes[judge], hashes[fit]).mean() for fit, judge in folds]
print(f"rows that judge and whose inputs were fitted on as well: {np.mean(seen_before):.1%}, at most {max(seen_before):.1%} of a fold")
if np.mean(seen_before) >= 0.05:
    suspects.append(("(rows)", f"{np.mean(seen_before):.1%} of the rows that judge stand among those that are fitted on"))
"""
_IDS = """
for name in IDS:
    values = frame[name].astype(str).to_numpy()
    shared = np.mean([np.isin(values[judge], values[fit]).mean() for fit, judge in folds])
    if shared >= 0.05 and len(np.unique(values)) > 20:
        suspects.append((name, f"{shared:.0%} of the rows that judge share it with rows that are fitted on: group the folds by it"))
"""
_FOUND = """
found = pd.DataFrame(suspects, columns=["column", "why"]).drop_duplicates()
print("Nothing smells of leakage." if found.empty else f"{len(found)} things to look at before a model is believed:")
with pd.option_context("display.max_colwidth", 120):
    display(found)
"""
_SAME_THING = ("id", "high_cardinality", "category", "number")


def leakage(search: Search) -> list[Cell]:
    """The cells, the last of which lists what was found as `found`: column and why."""
    columns, target = search.dataset.columns, search.problem.target
    named = [each.name for each in columns if each.semantic not in {"constant", "empty"}]
    ids = [each.name for each in columns if _is_id(each.name) and each.semantic in _SAME_THING]
    time = search.split.column if search.split.kind == "time" else None
    after = _AFTER.format(names=repr(named), time=repr(time))
    return [
        text(
            "## What knows too much?",
            "",
            "An input that foretells the target nearly perfectly by itself is either a gift or the answer. Red ones are to be looked at.",
        ),
        code(_ALONE),
        text(
            "## What is known only afterwards?",
            "",
            "By names, by values that are missing until the outcome is known, and by times later than the row's own.",
        ),
        code(f"TARGET = {target!r}", after),
        text(
            "## Who is there twice?",
            "",
            "A row that is fitted on and judges as well makes any model look good; so does one person on both sides.",
        ),
        code(_TWICE, f"IDS = {ids!r}" if ids else "", _IDS if ids else ""),
        text("## Suspects"),
        code(_FOUND),
    ]


def _is_id(name: str) -> bool:
    return name.lower().endswith(("_id", "uuid", "_key", "id_")) or name.lower() == "id"
