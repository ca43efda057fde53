"""scikit-learn's pipelines as an ONNX graph in float64, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from millrace.serving.inputs import is_text
from millrace.serving.models.paths.classes import Kind
from millrace.serving.models.paths.conversion import Conversion
from millrace.serving.models.paths.forest import Forest
from millrace.serving.models.paths.graph import CODES, NUMBERS, Graph
from millrace.serving.models.paths.lightgbm_forest import lightgbm_forest
from millrace.serving.models.paths.path import Unsuitable
from millrace.serving.models.paths.sklearn_forest import sklearn_forest
from millrace.serving.models.paths.texts import Table, Vocabulary, tabulate
from millrace.serving.models.paths.xgboost_forest import xgboost_forest

_VOTES = {"VotingClassifier", "VotingRegressor"}
_FOREST_OF: dict[str, Callable[[Any], Forest | None]] = {
    "xgboost": xgboost_forest,
    "lightgbm": lightgbm_forest,
    "sklearn": sklearn_forest,
}


@dataclass(frozen=True, slots=True)
class Columns:
    """What a step is given.

    Attributes:
        tensor: n x (number of columns) float64; None while there is text among them.
        names: the columns' names; empty after the first transformer.
        inputs: of columns that are still the model's inputs, (is text, place among those of its kind).
    """

    tensor: str | None
    names: tuple[str, ...] = ()
    inputs: tuple[tuple[bool, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a model says: the tensor, its meaning, and the trees behind it (of a vote, those of one part)."""

    scores: str
    kind: Kind
    forest: Forest | None
    direct: bool

    @property
    def single(self) -> bool:
        """Whether the scores are float32."""
        return self.forest is not None and self.forest.single


class PipelineGraph:
    """Converts one fitted model: the graph grows with each step that is visited."""

    def __init__(self, signature: Sequence[tuple[str, str]]) -> None:
        if any(kind == "datetime" for _, kind in signature):
            raise Unsuitable("it has times among its inputs")
        self._texts = [name for name, kind in signature if is_text(kind)]
        self._graph = Graph(len(signature) - len(self._texts), len(self._texts))
        self._vocabularies: dict[int, Vocabulary] = {}
        self._start = self._inputs(signature)

    def convert(self, model: Any) -> Conversion:
        """The whole model.

        Raises:
            Unsuitable: a step that is not known here; the message names it.
        """
        vote = type(model).__name__ in _VOTES and type(model).__module__.startswith("sklearn.")
        answer = self._vote(model) if vote else self._one(model)
        unused = [name for place, name in enumerate(self._texts) if place not in self._vocabularies]
        vocabularies = {
            **self._vocabularies,
            **{self._texts.index(name): Vocabulary(name, {None: 0}, 0) for name in unused},
        }
        return Conversion(
            self._graph.model(answer.scores, single=answer.single),
            answer.kind,
            classes_of(model),
            tuple(vocabularies[place] for place in range(len(self._texts))),
            answer.forest,
            direct=answer.direct,
        )

    def _one(self, model: Any) -> _Answer:
        """A pipeline, or a model alone."""
        *steps, last = [step for _, step in model.steps] if hasattr(model, "steps") else [model]
        columns = self._start
        for step in steps:
            columns = self._transform(step, columns)
        if columns.tensor is None:
            raise Unsuitable("it takes text as it is")
        scores, kind, forest = self._predict(last, columns.tensor)
        return _Answer(scores, kind, forest, direct=not steps)

    def _vote(self, model: Any) -> _Answer:
        """The weighted mean of what several models say. Their trees look at what each one's pipeline made of the inputs."""
        if getattr(model, "voting", "soft") != "soft":
            raise Unsuitable("its votes are counted")
        answers = [self._one(part) for part in model.estimators_]
        if len({_width(part) for part in model.estimators_}) > 1:
            raise Unsuitable("its votes have different shapes")
        weights = np.ones(len(answers)) if model.weights is None else np.asarray(model.weights, dtype=np.float64)
        shares = weights / weights.sum()
        scores = [
            self._graph.add("Mul", self._graph.double(answer.scores), self._graph.constant(share))
            for answer, share in zip(answers, shares, strict=True)
        ]
        forest = next((answer.forest for answer in answers if answer.forest is not None), None)
        summed = scores[0] if len(scores) == 1 else self._graph.add("Sum", *scores)
        return _Answer(summed, answers[0].kind, None if forest is None else replace(forest, single=False), direct=False)

    def _inputs(self, signature: Sequence[tuple[str, str]]) -> Columns:
        names = tuple(name for name, _ in signature)
        numbers = [kind for _, kind in signature if not is_text(kind)]
        places = {True: iter(range(len(self._texts))), False: iter(range(len(numbers)))}
        inputs = tuple((is_text(kind), next(places[is_text(kind)])) for _, kind in signature)
        self._numbers = NUMBERS
        single = np.array([kind == "float" for kind in numbers])
        if single.any():
            # A column of float32 reaches the model as such.
            rounded = self._graph.rounded(NUMBERS)
            self._numbers = self._graph.add("Where", self._graph.constant(single, np.bool_), rounded, NUMBERS)
        return Columns(None if self._texts else self._numbers, names, inputs)

    def _transform(self, step: Any, columns: Columns) -> Columns:
        if step in ("passthrough", None):
            return columns
        if hasattr(step, "transformers_"):
            return self._column_transformer(step, columns)
        if columns.tensor is None:
            return self._encode(step, columns)
        if not hasattr(step, "steps"):
            return Columns(self._number_step(step, columns.tensor))
        for _, each in step.steps:
            columns = self._transform(each, columns)
        return columns

    def _column_transformer(self, step: Any, columns: Columns) -> Columns:
        places = step._transformer_to_input_indices  # noqa: SLF001 - names, masks and slices, resolved
        parts = []
        for name, each, _ in step.transformers_:
            if (isinstance(each, str) and each == "drop") or not len(places[name]):
                continue
            part = self._transform(each, self._chosen(columns, list(places[name])))
            if part.tensor is None:
                raise Unsuitable("it takes text as it is")
            parts.append(part.tensor)
        return Columns(parts[0] if len(parts) == 1 else self._graph.add("Concat", *parts, axis=1))

    def _chosen(self, columns: Columns, places: list[int]) -> Columns:
        if not columns.inputs:
            assert columns.tensor is not None  # noqa: S101 - text is a model's input
            return Columns(self._graph.choose(columns.tensor, places))
        names = tuple(columns.names[place] for place in places)
        inputs = tuple(columns.inputs[place] for place in places)
        if any(text for text, _ in inputs):
            return Columns(None, names, inputs)
        numbers = [place for _, place in inputs]
        everything = list(range(sum(not text for text, _ in self._start.inputs)))
        tensor = self._numbers if numbers == everything else self._graph.choose(self._numbers, numbers)
        return Columns(tensor, names, inputs)

    def _encode(self, step: Any, columns: Columns) -> Columns:
        if not all(text for text, _ in columns.inputs):
            raise Unsuitable(f"{type(step).__name__} takes texts and numbers together")
        tables, width = tabulate(step, columns.names)
        parts = [self._look_up(place, table) for (_, place), table in zip(columns.inputs, tables, strict=True)]
        joined = parts[0] if len(parts) == 1 else self._graph.add("Concat", *parts, axis=1)
        order = np.concatenate([table.places for table in tables])
        if (order == np.arange(width)).all():
            return Columns(joined)
        return Columns(self._graph.choose(joined, np.argsort(order)))

    def _look_up(self, place: int, table: Table) -> str:
        if self._vocabularies.get(place, table.vocabulary) != table.vocabulary:
            raise Unsuitable("a text column is encoded twice, by other texts")
        self._vocabularies[place] = table.vocabulary
        code = self._graph.add("Gather", CODES, self._graph.constant(place, np.int64), axis=1)
        return self._graph.add("Gather", self._graph.constant(table.rows), code, axis=0)

    def _number_step(self, step: Any, tensor: str) -> str:
        convert = _NUMBER_STEPS.get(type(step).__name__)
        if convert is None or not type(step).__module__.startswith("sklearn."):
            raise Unsuitable(f"it has a {type(step).__name__}")
        return convert(self._graph, step, tensor)

    def _predict(self, model: Any, tensor: str) -> tuple[str, Kind, Forest | None]:
        probabilities = hasattr(model, "predict_proba")
        read = _FOREST_OF.get(type(model).__module__.partition(".")[0])
        forest = read(model) if read else None
        if forest is not None:
            return self._graph.forest(tensor, forest), "probabilities" if probabilities else "values", forest
        if not type(model).__module__.startswith("sklearn.") or not hasattr(model, "coef_"):
            raise Unsuitable(f"it is a {type(model).__name__}")
        scores = _linear(self._graph, model, tensor)
        if not hasattr(model, "classes_"):
            return scores, "values", None
        if not probabilities:
            return scores, "decisions", None
        binary = len(model.classes_) <= 2  # noqa: PLR2004 - two classes have one score
        return self._graph.link(scores, "sigmoid" if binary else "softmax"), "probabilities", None


def _linear(graph: Graph, model: Any, tensor: str) -> str:
    weights = np.atleast_2d(model.coef_).T
    scores = graph.add("MatMul", tensor, graph.constant(weights))
    return graph.add("Add", scores, graph.constant(np.broadcast_to(model.intercept_, weights.shape[1:])))


def _impute(graph: Graph, step: Any, tensor: str) -> str:
    missing, values = step.missing_values, np.array(step.statistics_, dtype=np.float64)
    if step.add_indicator or not (isinstance(missing, float) and np.isnan(missing)):
        raise Unsuitable("its imputer looks for something else than missing values")
    if np.isnan(values).any() and not step.keep_empty_features:
        raise Unsuitable("its imputer leaves columns out")
    filled = graph.constant(np.nan_to_num(values, nan=0.0))
    return graph.add("Where", graph.add("IsNaN", tensor), filled, tensor)


def _standard(graph: Graph, step: Any, tensor: str) -> str:
    return _scaled(graph, tensor, step.mean_ if step.with_mean else None, step.scale_ if step.with_std else None)


def _robust(graph: Graph, step: Any, tensor: str) -> str:
    center, scale = (step.center_ if step.with_centering else None), (step.scale_ if step.with_scaling else None)
    return _scaled(graph, tensor, center, scale)


def _scaled(graph: Graph, tensor: str, center: Any, scale: Any) -> str:
    if center is not None:
        tensor = graph.add("Sub", tensor, graph.constant(center))
    return tensor if scale is None else graph.add("Div", tensor, graph.constant(scale))


def _min_max(graph: Graph, step: Any, tensor: str) -> str:
    if step.clip:
        raise Unsuitable("its scaler clips")
    return graph.add("Add", graph.add("Mul", tensor, graph.constant(step.scale_)), graph.constant(step.min_))


def _function(_graph: Graph, step: Any, tensor: str) -> str:
    if step.func is not None:
        raise Unsuitable("it has a function of its own")
    return tensor


_NUMBER_STEPS: dict[str, Callable[[Graph, Any, str], str]] = {
    "FunctionTransformer": _function,
    "SimpleImputer": _impute,
    "StandardScaler": _standard,
    "RobustScaler": _robust,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": lambda graph, step, tensor: _scaled(graph, tensor, None, step.scale_),
    "SelectKBest": lambda graph, step, tensor: graph.choose(tensor, step.get_support(indices=True)),
    "VarianceThreshold": lambda graph, step, tensor: graph.choose(tensor, step.get_support(indices=True)),
}


def _width(model: Any) -> int:
    """How many columns a model's scores have."""
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    read = _FOREST_OF.get(type(last).__module__.partition(".")[0])
    forest = read(last) if read else None
    return len(forest.base) if forest is not None else len(np.atleast_2d(last.coef_))


def classes_of(model: Any) -> tuple[object, ...] | None:
    """The classes of a classifier, as plain values; None for a regressor.

    Raises:
        Unsuitable: it has several outputs.
    """
    classes = getattr(model, "classes_", None)
    if classes is None:
        return None
    if isinstance(classes, list):
        raise Unsuitable("it has several outputs")
    return tuple(np.asarray(classes).tolist())
