"""The stage `validate`: what the gates say of the version that was trained from this commit."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from millrace.ci.stages.scene import Scene
from millrace.ci.stages.train import facts
from millrace.ci.types import Check, StageResult
from millrace.core.errors import NotFound
from millrace.pipeline.release import Release, judge_release
from millrace.pipeline.verdicts import REPORT
from millrace.tracking.types import RunId

VERDICT = "verdict.json"  # kept with the training run
VERDICT_TAG = "millrace.verdict"  # of a version: passed or refused


def validate(scene: Scene, version: str | None = None) -> StageResult:
    """Ask the gates, or read what they have said before. A refusal is a result."""
    begun = time.perf_counter()
    release = scene.release(version)
    output = judged(scene, release)
    named = f"{release.entry.model} v{release.entry.version}"
    told = facts(scene, str(release.entry.version))
    result = verdict_result(scene.target.name, named, output, told, time.perf_counter() - begun)
    return replace(result, attachments=_page(scene, release))


def _page(scene: Scene, release: Release) -> dict[str, str]:
    """The gates' own report with its plots, which is kept with the training run."""
    try:
        return {"report.html": scene.workspace.tracking.read_text(RunId(str(release.entry.run_id)), REPORT)}
    except NotFound:
        return {}


def judged(scene: Scene, release: Release) -> Mapping[str, object]:
    """The verdict of a release, also kept with its version and its training run, so that it travels with them."""
    output = judge_release(scene.workspace, scene.pipeline, release, scene.progress).output
    entry, said = release.entry, "passed" if output["passed"] else "refused"
    if entry.tags.get(VERDICT_TAG) != said:
        if entry.run_id is not None:
            scene.workspace.tracking.log_text(RunId(entry.run_id), json.dumps(output, indent=2), VERDICT)
        scene.workspace.registry.tag(entry.model, entry.version, {VERDICT_TAG: said})
    return output


def verdict_result(
    target: str, named: str, output: Mapping[str, object], told: Mapping[str, object], seconds: float = 0.0
) -> StageResult:
    """A verdict as a stage's result: a check for each gate, with its reason."""
    results = cast("Sequence[Mapping[str, object]]", output["results"])
    checks = tuple(
        Check(str(result["gate"]), "passed" if result["passed"] else "failed", str(result["reason"]))
        for result in results
    )
    passed = bool(output["passed"])
    failed = sum(check.status == "failed" for check in checks)
    summary = (
        f"{named} passes all {len(checks)} gates"
        if passed
        else f"{named} is refused by {failed} of {len(checks)} gates"
    )
    metrics = cast("Mapping[str, Any]", output.get("metrics") or {})
    told = {**told, "winner": output.get("winner"), "metrics": metrics.get(str(output.get("winner")), metrics)}
    hint = "" if passed else "change the pipeline or its data, and train again"
    return StageResult("validate", target, "passed" if passed else "refused", summary, checks, told, seconds, hint)
