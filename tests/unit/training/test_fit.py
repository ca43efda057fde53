"""Candidates on small training sets: repeatable, honest about bad input, ready to be logged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib import metadata

import numpy as np
import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput
from millrace.features.matrix import model_frame
from millrace.features.training_set import TrainingSet
from millrace.features.types import FeatureLookup
from millrace.statistics.metrics import roc_auc
from millrace.training.candidates import Custom, Dummy, LightGBM, Linear, XGBoost
from millrace.training.fit import fit, to_log
from millrace.training.labels import binary_labels
from millrace.training.models import predict_proba
from millrace.training.types import Candidate, TrainingData

MakeSet = Callable[..., TrainingSet]
ALL: list[Candidate] = [XGBoost(n_estimators=6), LightGBM(n_estimators=6), Linear(), Dummy()]


def forest(data: TrainingData) -> object:
    """A function of a user's own."""
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(10, random_state=data.seed, n_jobs=data.threads)
    return model.fit(data.features, data.labels)


def other_forest(data: TrainingData) -> object:
    """The same by another source."""
    return forest(data)


def ids(candidate: Candidate) -> str:
    return candidate.name


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("candidate", ALL, ids=ids)
def test_the_same_data_and_seed_give_the_same_bits(candidate: Candidate, text: bool, make_set: MakeSet) -> None:  # noqa: FBT001 - parametrised
    training_set = make_set(text=text)
    first, again = (fit(candidate, training_set, seed=5, threads=2) for _ in range(2))
    frame = training_set.features()
    scores = predict_proba(first.model, frame)
    assert scores.tobytes() == predict_proba(again.model, frame).tobytes()
    assert scores.dtype == np.float64
    assert ((scores >= 0) & (scores <= 1)).all()


def test_a_candidate_is_told_when_the_features_of_each_row_were_asked_for(make_set: MakeSet) -> None:
    days = [datetime(2025, 1, 1 + number % 28, tzinfo=UTC) for number in range(400)]
    seen: list[np.ndarray | None] = []

    def look(data: TrainingData) -> object:
        seen.append(data.times)
        return forest(data)

    made = make_set()
    for lookups in ((), (FeatureLookup("ml.features.spend", "customer", timestamp_lookup_key="asked"),)):
        spec = replace(made.spec, lookups=lookups)
        fit(
            Custom("look", look),
            replace(made, table=made.table.append_column("asked", pa.array(days)), spec=spec),
            seed=0,
            threads=1,
        )
    assert seen[0] is None
    assert seen[1] is not None
    assert seen[1].astype("datetime64[D]").tolist() == [day.date() for day in days]


@pytest.mark.parametrize("candidate", ALL[:3], ids=ids)
def test_they_learn(candidate: Candidate, make_set: MakeSet) -> None:
    training_set = make_set(1200)
    fitted = fit(candidate, training_set, seed=0, threads=1)
    labels = binary_labels(training_set.table, "churned")
    assert roc_auc(labels, predict_proba(fitted.model, training_set.features())) > 0.75


def test_the_dummy_says_the_share_of_positives(make_set: MakeSet) -> None:
    training_set = make_set(churned=[1] * 100 + [0] * 300)
    scores = predict_proba(fit(Dummy(), training_set, seed=0, threads=1).model, training_set.features())
    assert scores.tolist() == [0.25] * 400


@pytest.mark.parametrize("candidate", ALL[:3], ids=ids)
def test_a_missing_text_is_the_same_however_it_is_missing_and_like_one_never_seen(
    candidate: Candidate, make_set: MakeSet
) -> None:
    training_set = make_set(text=True)
    model = fit(candidate, training_set, seed=0, threads=1).model
    frames = [training_set.features().head(30) for _ in range(4)]
    for frame, missing in zip(frames, (None, np.nan, "never seen"), strict=False):
        frame["region"] = np.array([missing] * 30, dtype=object)
    frames[3]["region"] = frames[0]["region"].astype("str").where(np.zeros(30, dtype=bool))
    answers = [predict_proba(model, frame).tobytes() for frame in frames]
    assert len(set(answers)) == 1


def test_the_flavor_is_what_was_fitted(make_set: MakeSet) -> None:
    plain, with_text = make_set(), make_set(text=True)
    flavors = [[fit(each, data, seed=0, threads=1).flavor for each in ALL] for data in (plain, with_text)]
    assert flavors == [["xgboost", "lightgbm", "sklearn", "sklearn"], ["sklearn"] * 4]


def test_inputs_and_requirements_are_written_down(make_set: MakeSet) -> None:
    fitted = fit(XGBoost(n_estimators=2), make_set(text=True, price=[Decimal("1.50")] * 400), seed=4, threads=1)
    assert dict(fitted.inputs) == {"spend": "double", "age": "double", "region": "string", "price": "double"}
    assert f"xgboost-cpu=={metadata.version('xgboost-cpu')}" in fitted.requirements
    assert not [each for each in fitted.requirements if each.startswith("lightgbm")]
    assert (fitted.candidate, fitted.label, fitted.rows, fitted.seed) == ("xgboost", "churned", 400, 4)
    assert len(fitted.example) == 20


def test_the_signature_has_inputs_and_outputs(make_set: MakeSet) -> None:
    logged = to_log(fit(Linear(), make_set(text=True), seed=0, threads=1), '{"format":1}', {"run": "r1"})
    signature = logged.signature.to_dict()  # type: ignore[attr-defined]
    assert [(each["name"], each["type"]) for each in json.loads(signature["inputs"])] == [
        ("spend", "double"),
        ("age", "double"),
        ("region", "string"),
    ]
    assert [each["type"] for each in json.loads(signature["outputs"])] == ["long"]
    assert (logged.flavor, logged.feature_spec, logged.metadata) == ("sklearn", '{"format":1}', {"run": "r1"})


def test_a_function_of_ones_own(make_set: MakeSet) -> None:
    candidate = Custom("forest", forest)
    fitted = fit(candidate, make_set(spend=[0.5] * 400), seed=0, threads=1)
    assert (fitted.candidate, fitted.flavor) == ("forest", "sklearn")
    assert candidate == Custom("forest", forest)
    assert str(candidate.params["function"]).endswith(".forest")
    assert candidate.params["source_sha256"] == Custom("other", forest).params["source_sha256"]
    assert candidate.params["source_sha256"] != Custom("forest", other_forest).params["source_sha256"]
    assert "0x" not in repr(candidate)


@pytest.mark.parametrize("result", [None, "a model", object()])
def test_a_function_that_gives_no_classifier_is_refused(result: object, make_set: MakeSet) -> None:
    with pytest.raises(InvalidInput, match="no fitted classifier"):
        fit(Custom("odd", lambda _: result), make_set(), seed=0, threads=1)


def test_candidates_are_values() -> None:
    assert XGBoost(gamma=1.0, subsample=0.5) == XGBoost(subsample=0.5, gamma=1.0) != XGBoost()
    assert dict(XGBoost(max_depth=3).params) == {"n_estimators": 100, "max_depth": 3, "learning_rate": 0.1}
    assert hash(LightGBM()) == hash(LightGBM())
    assert repr(Linear(C=0.5)) == "Linear(C=0.5, name='linear')"
    assert [each.is_baseline for each in ALL] == [False, False, False, True]
    assert [each.complexity for each in ALL] == [2, 2, 1, 0]


def test_a_wrong_option_gets_its_neighbour(make_set: MakeSet) -> None:
    with pytest.raises(InvalidInput, match="no parameter 'maxdepth'\n  hint: did you mean 'max_depth'"):
        fit(XGBoost(maxdepth=3), make_set(), seed=0, threads=1)
    with pytest.raises(InvalidInput, match="did you mean 'learning_rate'"):
        fit(LightGBM(learning_rat=3), make_set(), seed=0, threads=1)
    with pytest.raises(InvalidInput, match="does not set random_state"):
        XGBoost(random_state=1)
    with pytest.raises(InvalidInput, match="does not set n_jobs"):
        LightGBM(n_jobs=1)


@pytest.mark.parametrize(
    ("columns", "fact"),
    [
        ({"churned": [1] * 400}, r"is 1 in all 400 rows: there is nothing to learn\n  hint: "),
        ({"churned": [None, *[1] * 399]}, "is null in 1 of 400 rows"),
        ({"churned": [2, *[1] * 399]}, r"'churned' \(int64\) holds something else than 0 and 1"),
        ({"churned": ["1", *["0"] * 399]}, r"'churned' \(string\) holds something else"),
        ({"churned": ["yes", *["no"] * 399]}, "holds something else"),
        ({"spend": [float("inf"), *[0.5] * 399]}, "'spend' is infinite in 1 of 400 rows"),
    ],
)
def test_bad_rows_are_refused_with_a_hint(columns: dict[str, object], fact: str, make_set: MakeSet) -> None:
    with pytest.raises(InvalidInput, match=fact):
        fit(Linear(), make_set(**columns), seed=0, threads=1)


def test_an_empty_training_set_is_refused(make_set: MakeSet) -> None:
    with pytest.raises(InvalidInput, match="the training set is empty"):
        fit(Linear(), make_set().where(np.zeros(400, dtype=bool)), seed=0, threads=1)


def test_no_label_no_training(make_set: MakeSet) -> None:
    with pytest.raises(InvalidInput, match="no label"):
        fit(Linear(), make_set(label=None), seed=0, threads=1)
    with pytest.raises(InvalidInput, match="did you mean 'churned'"):
        fit(Linear(), make_set(label="churnd"), seed=0, threads=1)


@pytest.mark.parametrize("values", [[True, False] * 200, [1.0, 0.0] * 200, [Decimal(1), Decimal(0)] * 200])
def test_labels_of_other_types_are_zero_and_one(values: list[object], make_set: MakeSet) -> None:
    assert binary_labels(make_set(churned=values).table, "churned").tolist() == [1, 0] * 200


@pytest.mark.parametrize("candidate", ALL[:3], ids=ids)
def test_a_column_that_is_always_missing_does_no_harm(candidate: Candidate, make_set: MakeSet) -> None:
    training_set = make_set(nothing=[None] * 400)
    model = fit(candidate, training_set, seed=0, threads=1).model
    assert np.isfinite(predict_proba(model, model_frame(training_set.table, training_set.spec.inputs))).all()


def test_a_model_without_probabilities_is_refused(make_set: MakeSet) -> None:
    frame = make_set().features()
    with pytest.raises(InvalidInput, match="gives no probabilities"):
        predict_proba(object(), frame)


def test_only_the_hundred_most_frequent_texts_are_told_apart(make_set: MakeSet) -> None:
    many = [f"c{i % 149:03}" if i % 2 else "common" for i in range(400)]
    model = fit(Linear(), make_set(city=many), seed=0, threads=1).model
    encoder = model.named_steps["encode"].named_transformers_["texts"]  # type: ignore[attr-defined]
    assert len(encoder.categories_[0]) == 100
    assert "common" in encoder.categories_[0]
