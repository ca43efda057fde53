"""Asking for a run of a job."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from millrace.core.names import did_you_mean
from millrace.jobs.job_run import RunId, TriggerType
from millrace.jobs.port import JobDesk, RunOrder
from millrace.jobs.read_document import refuse
from millrace.jobs.references import check_parameter

_LONGEST_TOKEN = 300


def submit(
    desk: JobDesk,
    job_name: str,
    *,
    token: str | None = None,
    trigger: TriggerType = "ONE_TIME",
    due: datetime | None = None,
    parameters: Mapping[str, str] | None = None,
    caller: RunId | None = None,
) -> RunId:
    """Put a run of the job into the queue; who executes takes it from there. Asking again under one token gives the same run.

    Args:
        desk: of the workspace.
        job_name: a job that is kept.
        token: what the run is known by; None: nobody will ask again.
        trigger: what makes it begin.
        due: the tick that it is for.
        parameters: in place of the job's defaults.
        caller: the attempt of a run-job task that asks.

    Raises:
        NotFound: there is no such job.
        InvalidInput: a parameter that the job has not, that is no text, or that has a reference to what is not known of every run.
    """
    kept = desk.jobs.get(job_name)
    given, known = dict(parameters or {}), kept.job.parameters
    for name, value in given.items():
        if name not in known:
            refuse(f"job '{job_name}' has no parameter '{name}'", did_you_mean(name, known))
        if not isinstance(value, str):
            refuse(f"parameter '{name}' is {value!r}, and should be a text", f'write "{value}"')
        _check_text(f"parameter '{name}'", value)
        check_parameter(f"parameter '{name}'", value)
    token = token or f"asked/{uuid.uuid4().hex}"
    if len(token) > _LONGEST_TOKEN:
        refuse(f"a token of {len(token)} characters is too long", f"{_LONGEST_TOKEN} are the most")
    _check_text("the token", token)
    order = RunOrder(kept, token, trigger, due, {**known, **given}, caller)
    return desk.runs.add(order).run_id


def _check_text(what: str, text: str) -> None:
    """Refuse half a pair of surrogates, as JSON may have it: nothing that runs later could write it down."""
    try:
        text.encode()
    except UnicodeEncodeError:
        refuse(f"{what} is {text!r}, and no text in UTF-8", "give it in UTF-8")
