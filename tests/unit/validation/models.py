"""Customers, what became of them, and models that know more or less of it, for the tests of gates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from millrace.statistics.metrics import Floats
from millrace.validation.types import Columns, Evidence, TrainingFacts

CUSTOMERS, WEEKS, TRAINED = 500, 4, 2000


@dataclass(frozen=True)
class World:
    """A holdout of some customers, each there several weeks with one fate, and other rows to train on."""

    truth: Floats
    evidence: Evidence


def columns(rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    missing = np.where(rng.random(rows) < 0.05, np.nan, rng.gamma(2.0, 20.0, rows))
    region = rng.choice(np.array(["north", "south", "east", "west"], dtype=object), rows)
    return {
        "spend": missing,
        "days": rng.integers(0, 90, rows).astype(float),
        "plan": rng.integers(0, 4, rows) * 1.0,
        "region": region,
    }


def chance(given: Columns) -> Floats:
    spend = np.nan_to_num(given["spend"], nan=30.0)
    line = 0.05 * (given["days"] - 40) - 0.02 * spend + 0.6 * (given["plan"] == 2) * (given["days"] > 60)
    return np.asarray(1 / (1 + np.exp(-line)), dtype=np.float64)


def world(seed: int) -> World:
    """The model of its evidence is nearly right: the truth, with the noise of somebody who learned it."""
    rng = np.random.default_rng(seed)
    trained, once = columns(TRAINED, rng), columns(CUSTOMERS, rng)
    held = {name: np.tile(values, WEEKS) for name, values in once.items()}
    held["days"] = held["days"] + np.repeat(np.arange(WEEKS) * 7.0, CUSTOMERS)
    truth = chance(held)
    labels = (np.tile(rng.random(CUSTOMERS), WEEKS) < truth).astype(np.int64)
    facts = TrainingFacts(trained, (rng.random(TRAINED) < chance(trained)).astype(np.int64))
    evidence = Evidence(
        labels=labels,
        challenger=noisy(truth, 0.25, rng),
        baselines={"dummy": np.full(len(labels), facts.labels.mean())},
        linear=noisy(truth, 0.4, rng),
        groups=np.tile(np.arange(CUSTOMERS), WEEKS),
        columns=held,
        training=facts,
        seed=seed,
    )
    champion = noisy(truth, 0.5, rng)
    return World(truth, replace(evidence, newest=replace(evidence, champion=champion, champion_name="churn v3")))


def noisy(truth: Floats, size: float, rng: np.random.Generator) -> Floats:
    """Probabilities that are off by normal noise on the log-odds."""
    return moved(truth, lambda odds: odds + rng.normal(0, size, len(odds)))


def moved(scores: Floats, change: object) -> Floats:
    assert callable(change)
    return np.asarray(1 / (1 + np.exp(-change(np.log(scores / (1 - scores))))), dtype=np.float64)
