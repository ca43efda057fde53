"""Code of the exploration notebook's pictures. Each takes `frame`, `X`, `y` and `IS_CLASS` as the cells before them made them."""

from __future__ import annotations

TARGET = """
fig, ax = plt.subplots(figsize=(6, 2.4))
if IS_CLASS:
    counts = pd.Series(y).value_counts().reindex(range(len(CLASSES)), fill_value=0)
    ax.barh([str(name) for name in CLASSES], counts, color="tab:blue")
    ax.bar_label(ax.containers[0], [f"{count:,} ({count / len(y):.1%})" for count in counts], padding=3)
    ax.set(xlabel="rows", xlim=(0, counts.max() * 1.25))
else:
    ax.hist(y, bins=50, color="tab:blue")
    ax.set(xlabel="target", ylabel="rows")
plt.show()
"""
MISSING = """
missing = X.isna().mean().sort_values(ascending=False)
missing = missing[missing > 0]
if missing.empty:
    print("No input has a missing value.")
else:
    shown = missing.head(30)[::-1]
    fig, ax = plt.subplots(figsize=(7, 0.6 + 0.25 * len(shown)))
    ax.barh(shown.index, shown, color="tab:orange")
    ax.bar_label(ax.containers[0], [f"{share:.1%}" for share in shown], padding=3)
    ax.set(xlabel="share of rows without a value", xlim=(0, min(1.0, shown.max() * 1.2) + 0.02), title=f"{len(missing)} of {X.shape[1]} inputs have missing values")
    plt.show()
"""
NUMBERS = """
MOST = 24
if IS_CLASS:
    sides = [(str(name), y == place) for place, name in list(enumerate(CLASSES))[:5]]
else:
    sides = [("target up to its median", y <= np.median(y)), ("above", y > np.median(y))]
plotted = [name for name in X if X[name].dtype.kind == "f" and X[name].nunique() > 1][:MOST]
if plotted:
    rows = -(-len(plotted) // 4)
    fig, axes = plt.subplots(rows, 4, figsize=(12, 2.1 * rows + 0.3), squeeze=False, layout="constrained")
    for ax in axes.flat[len(plotted):]:
        ax.axis("off")
    for ax, name in zip(axes.flat, plotted):
        low, high = X[name].quantile([0.01, 0.99])
        edges = np.linspace(low, high if high > low else low + 1, 31)
        for side, where in sides:
            if X[name][where].notna().any():
                ax.hist(X[name][where].dropna(), bins=edges, density=True, histtype="step", label=side)
        ax.set_title(name, fontsize=9)
        ax.set_yticks([])
    fig.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper right", ncols=5, frameon=False)
    plt.show()
    left = sum(X[name].dtype.kind == "f" for name in X) - len(plotted)
    print(f"{left} more number columns are not drawn" if left else "")
"""
TEXTS = """
plotted = [name for name in X if X[name].dtype.kind not in "fM"][:12]
if plotted:
    rows = -(-len(plotted) // 3)
    fig, axes = plt.subplots(rows, 3, figsize=(12, 2.6 * rows), squeeze=False)
    for ax in axes.flat[len(plotted):]:
        ax.axis("off")
    for ax, name in zip(axes.flat, plotted):
        counts = X[name].fillna("(missing)").value_counts()
        shown = counts.head(10)[::-1]
        ax.barh([str(value)[:24] for value in shown.index], shown, color="tab:green")
        ax.set_title(f"{name}: {len(counts):,} values", fontsize=9)
    fig.tight_layout()
    plt.show()
"""
DATES = """
plotted = [name for name in X if X[name].dtype.kind == "M"][:6]
for name in plotted:
    fig, ax = plt.subplots(figsize=(8, 1.8))
    ax.hist(X[name].dropna(), bins=60, color="tab:purple")
    ax.set(title=name, ylabel="rows")
    plt.show()
"""
CORRELATIONS = """
MOST = 30
varied = [name for name in X if X[name].dtype.kind == "f" and X[name].nunique() > 1]
some = np.random.default_rng(0).permutation(len(X))[:20_000]
if varied and not (IS_CLASS and len(CLASSES) > 2):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a column that is only there for one class has no correlation
        with_target = X[varied].iloc[some].corrwith(pd.Series(y).iloc[some], method="spearman").sort_values(key=abs, ascending=False)
    varied = list(with_target.index)
    display(with_target.head(15).rename("with the target").to_frame())
if len(varied) > 1:
    ranks = X[varied[:MOST]].iloc[some].corr(method="spearman")
    fig, ax = plt.subplots(figsize=(2.5 + 0.25 * len(ranks), 1.5 + 0.25 * len(ranks)))
    picture = ax.imshow(ranks, cmap="RdBu_r", vmin=-1, vmax=1)
    ax.set_xticks(range(len(ranks)), ranks.columns, rotation=90, fontsize=7)
    ax.set_yticks(range(len(ranks)), ranks.columns, fontsize=7)
    fig.colorbar(picture, ax=ax, shrink=0.8)
    plt.show()
    pairs = ranks.where(np.triu(np.ones(ranks.shape, dtype=bool), 1)).stack()
    same = pairs[pairs.abs() >= 0.95].sort_values(key=abs, ascending=False)
    print(f"{len(same)} pairs of columns say nearly the same (0.95 or more)")
    if len(same):
        display(same.rename("rank correlation").to_frame().head(20))
"""
