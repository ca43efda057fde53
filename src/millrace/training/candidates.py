"""Ways to train that are ready to use, and one for a function of your own."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.training.encode import encoded, text_columns
from millrace.training.types import FitFunction, TrainingData

_SEED = {"random_state", "seed", "random_seed", "deterministic"}
_THREADS = {"n_jobs", "nthread", "nthreads", "num_thread", "num_threads", "force_row_wise", "force_col_wise"}


@dataclass(frozen=True, init=False)
class XGBoost:
    """Gradient-boosted trees by XGBoost.

    With number columns only, the model is a bare `XGBClassifier`; with text columns it is a scikit-learn pipeline
    that one-hot encodes them first. Missing numbers stay missing: the trees learn where to send them.

    Args:
        n_estimators: how many trees.
        max_depth: of each tree.
        learning_rate: how much each tree adds.
        name: unique among a pipeline's candidates.
        more: any other parameter of `XGBClassifier`, except seed and threads, which the run sets.

    Raises:
        InvalidInput: an option that the run sets.
    """

    name: str
    options: tuple[tuple[str, object], ...]

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        max_depth: int = 6,
        learning_rate: float = 0.1,
        name: str = "xgboost",
        **more: object,
    ) -> None:
        named = {"n_estimators": n_estimators, "max_depth": max_depth, "learning_rate": learning_rate}
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "options", _options(named, more))

    @property
    def params(self) -> Mapping[str, object]:
        """The options by name."""
        return dict(self.options)

    @property
    def is_baseline(self) -> bool:
        """No."""
        return False

    @property
    def complexity(self) -> int:
        """2."""
        return 2

    def fit(self, data: TrainingData) -> object:
        """Train; one-hot inside the model where there are text columns."""
        from xgboost import XGBClassifier

        _known(self.options, "XGBClassifier", XGBClassifier().get_params())
        model = XGBClassifier(**dict(self.options), random_state=data.seed, n_jobs=data.threads)
        return _fit_trees(model, data)


@dataclass(frozen=True, init=False)
class LightGBM:
    """Gradient-boosted trees by LightGBM, in its deterministic mode.

    With number columns only, the model is a bare `LGBMClassifier`; with text columns a scikit-learn pipeline.

    Args:
        n_estimators: how many trees.
        num_leaves: of each tree.
        learning_rate: how much each tree adds.
        name: unique among a pipeline's candidates.
        more: any other parameter of `LGBMClassifier`, except seed and threads, which the run sets.

    Raises:
        InvalidInput: an option that the run sets.
    """

    name: str
    options: tuple[tuple[str, object], ...]

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        num_leaves: int = 31,
        learning_rate: float = 0.1,
        name: str = "lightgbm",
        **more: object,
    ) -> None:
        named = {"n_estimators": n_estimators, "num_leaves": num_leaves, "learning_rate": learning_rate}
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "options", _options(named, more))

    @property
    def params(self) -> Mapping[str, object]:
        """The options by name."""
        return dict(self.options)

    @property
    def is_baseline(self) -> bool:
        """No."""
        return False

    @property
    def complexity(self) -> int:
        """2."""
        return 2

    def fit(self, data: TrainingData) -> object:
        """Train; one-hot inside the model where there are text columns."""
        from lightgbm import LGBMClassifier
        from lightgbm.basic import _ConfigAliases

        # The class takes every parameter of the library, and the library ignores what it does not know.
        library = _ConfigAliases._get_all_param_aliases()  # noqa: SLF001 - the only list of them
        known = {
            *LGBMClassifier().get_params(),
            *library,
            *(alias for aliases in library.values() for alias in aliases),
        }
        _known(self.options, "LGBMClassifier", known)
        fixed = {"deterministic": True, "force_row_wise": True, "verbosity": -1}
        model = LGBMClassifier(**fixed | dict(self.options), random_state=data.seed, n_jobs=data.threads)
        return _fit_trees(model, data)


@dataclass(frozen=True)
class Linear:
    """Logistic regression: missing numbers become the median, numbers are scaled, text is one-hot encoded.

    Args:
        C: inverse strength of the L2 penalty; smaller is stronger.
        name: unique among a pipeline's candidates.
    """

    C: float = 1.0
    name: str = "linear"

    @property
    def params(self) -> Mapping[str, object]:
        """The penalty."""
        return {"C": self.C}

    @property
    def is_baseline(self) -> bool:
        """No: a linear model may well be the best."""
        return False

    @property
    def complexity(self) -> int:
        """1."""
        return 1

    def fit(self, data: TrainingData) -> object:
        """Train a pipeline of preparation and `LogisticRegression`."""
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import Pipeline, make_pipeline
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

        steps: list[tuple[str, Any]] = [
            ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("scale", StandardScaler()),
        ]
        if text_columns(data.features):
            steps = [("encode", encoded(data.features, make_pipeline(*(step for _, step in steps))))]
        pipeline = Pipeline([*steps, ("model", LogisticRegression(C=self.C, max_iter=1000, random_state=data.seed))])
        # One thread: the order in which BLAS adds depends on how many it has, and the last bits with it.
        with threadpool_limits(limits=1):
            return pipeline.fit(data.features, data.labels)


@dataclass(frozen=True)
class Dummy:
    """Says the share of positives in training, whatever it is asked: what every model has to beat."""

    name: str = "dummy"

    @property
    def params(self) -> Mapping[str, object]:
        """How it answers."""
        return {"strategy": "prior"}

    @property
    def is_baseline(self) -> bool:
        """Yes."""
        return True

    @property
    def complexity(self) -> int:
        """0."""
        return 0

    def fit(self, data: TrainingData) -> object:
        """Count."""
        from sklearn.dummy import DummyClassifier

        return DummyClassifier(strategy="prior").fit(data.features, data.labels)


@dataclass(frozen=True)
class Custom:
    """A function of your own: from `TrainingData` to a fitted classifier with scikit-learn's methods.

    Its source is part of what it is: change the function, and the plan sees another candidate.

    Args:
        name: unique among a pipeline's candidates.
        function: must take its randomness from `data.seed` and its threads from `data.threads`.
        flavor: MLflow flavor to store the model in; None: by its class.
        complexity: see `Candidate`; between equal models the simpler is chosen.
        is_baseline: whether others must beat it and it never goes into production itself.
    """

    name: str
    function: FitFunction = field(repr=False)
    flavor: str | None = None
    complexity: int = 2
    is_baseline: bool = False
    source_sha256: str = field(init=False)

    def __post_init__(self) -> None:
        """Take the source's hash."""
        object.__setattr__(self, "source_sha256", hashlib.sha256(_source(self.function).encode()).hexdigest())

    @property
    def params(self) -> Mapping[str, object]:
        """Where the function is, and its source's hash."""
        where = f"{self.function.__module__}.{getattr(self.function, '__qualname__', type(self.function).__qualname__)}"
        return {"function": where, "source_sha256": self.source_sha256}

    def fit(self, data: TrainingData) -> object:
        """Call the function."""
        return self.function(data)


def _options(named: Mapping[str, object], more: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
    for option in more:
        if option in _SEED | _THREADS:
            raise InvalidInput(
                f"a candidate does not set {option}", hint="the run sets seed and threads, so that it can be repeated"
            )
    return tuple({**named, **dict(sorted(more.items()))}.items())


def _known(options: tuple[tuple[str, object], ...], model: str, known: Collection[str]) -> None:
    for option, _ in options:
        if option not in known:
            raise InvalidInput(f"{model} has no parameter '{option}'", hint=did_you_mean(option, known), option=option)


def _fit_trees(model: Any, data: TrainingData) -> object:
    if not text_columns(data.features):
        return model.fit(data.features, data.labels)
    from sklearn.pipeline import Pipeline

    pipeline = Pipeline([("encode", encoded(data.features, "passthrough")), ("model", model)])
    return pipeline.fit(data.features, data.labels)


def _source(function: FitFunction) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # no file: typed at a prompt, or a callable object
        code = getattr(function, "__code__", None)
        return repr((code.co_code, code.co_names)) if code is not None else repr(type(function))
