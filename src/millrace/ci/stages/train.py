"""The stage `train`: features, candidates, and the best of them as a version, which nobody has judged yet."""

from __future__ import annotations

import time

from millrace.ci.stages.scene import Scene
from millrace.ci.types import Check, StageResult
from millrace.pipeline.release import train_release


def train(scene: Scene) -> StageResult:
    """Train and register. Once for the same files and data."""
    begun = time.perf_counter()
    report, release = train_release(scene.workspace, scene.pipeline, scene.progress, scene.tags())
    entry = release.entry
    new = bool(report.stages)
    checks = [Check(stage.name, "passed", stage.detail, stage.seconds) for stage in report.stages]
    named = f"{entry.model} v{entry.version}"
    summary = (
        f"{named} is trained from {scene.trained_from}"
        if new
        else f"{named} was trained from {scene.trained_from} already"
    )
    return StageResult(
        "train",
        scene.target.name,
        "passed",
        summary,
        tuple(checks or [Check("train", "skipped", summary)]),
        facts(scene, str(entry.version)),
        time.perf_counter() - begun,
    )


def facts(scene: Scene, version: str) -> dict[str, object]:
    """What later stages and people want to know of a version."""
    commit = scene.commit
    return {
        "pipeline": scene.pipeline.name,
        "model": scene.model,
        "version": version,
        "commit": None if commit is None else commit.sha,
        "changed_files": [] if commit is None else list(commit.changed),
    }
