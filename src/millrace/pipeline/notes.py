"""What the retraining for an episode came to, in the episode's history."""

from __future__ import annotations

from contextlib import suppress

from millrace.alerts.evaluate_all import tell_all
from millrace.alerts.tell import add_note
from millrace.alerts.types import EpisodeId
from millrace.core.errors import NotFound
from millrace.pipeline.attempts import attempts
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.policy import Attempt
from millrace.pipeline.port import Services
from millrace.pipeline.retrain import in_production


def catch_up(services: Services, pipeline: Pipeline) -> None:
    """Write down how the newest retraining stands, and tell what is owed. Doing it again changes nothing.

    A run does it first and last: what a crash kept from being told is told before anything else changes.
    """
    champion = in_production(services, pipeline)
    newest = attempts(services, pipeline, champion)[-1:] if champion is not None else []
    for attempt in newest:
        _note(services, attempt)
    tell_all(services.alerts)


def _note(services: Services, attempt: Attempt) -> None:
    episode, trained = attempt.trigger.episode, f", trained on labels up to {attempt.train_to:%Y-%m-%d}"
    if episode is None:
        return
    nth = "a retraining" if attempt.trigger.attempt == 1 else f"retraining {attempt.trigger.attempt}"
    said = {"began": f"{nth} began{trained if attempt.train_to else ''}"}
    if attempt.outcome == "refused":
        said["refused"] = f"{nth} was refused: {attempt.reason}"
    if attempt.outcome == "promoted":
        said["promoted"] = f"{nth} went into production"
    for key, text in said.items():
        with suppress(NotFound):  # the episode was removed
            add_note(services.alerts, services.principal, EpisodeId(episode), text, f"{attempt.trigger}/{key}")
