"""From a passed verdict to production: register, staging, smoke test, promotion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from millrace.core.clock import iso
from millrace.core.errors import InvalidState
from millrace.pipeline import training_parts
from millrace.pipeline.attempts import PRODUCTION, REGISTER, STAGING, VALIDATE, retraining_tag
from millrace.pipeline.champion import TRAINED_TO
from millrace.pipeline.context import RunContext
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.fitted import run_of
from millrace.pipeline.port import Services
from millrace.pipeline.reference import REFERENCE, reference_profile
from millrace.pipeline.retrain import close_episode
from millrace.pipeline.rollback import DEPLOYMENT
from millrace.pipeline.smoke import smoke_test, timed
from millrace.pipeline.stages.judge import gates_of, verdict_of, winner_of
from millrace.pipeline.stages.stage import Outcome
from millrace.pipeline.verdicts import REPORT, REPORT_TAG, add_served
from millrace.registry.promotion import promote
from millrace.registry.types import ModelName, ModelVersion
from millrace.serving.canary.documents import settings_document
from millrace.targets.port import DeploymentTarget
from millrace.targets.types import CanaryStatus, DeploymentSpec, DeploymentStatus
from millrace.validation.defaults import served
from millrace.validation.judge import as_json
from millrace.validation.served import FAST_ENOUGH, FastEnough
from millrace.validation.types import GateResult, Served, ServedGate, Verdict

_BY_HAND = "the endpoint has left it again since it had finished"


@dataclass(frozen=True, slots=True)
class Register:
    """Make a version of the winner; `tags` go onto it beside our own."""

    group: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`register`."""
        return REGISTER

    @property
    def fingerprint(self) -> str:
        """The training that it belongs to."""
        return fingerprint(self.name, self.group)

    def run(self, context: RunContext) -> Outcome:
        """Register under the training's key, so that a crash never makes a second version."""
        pipeline, winner = context.pipeline, winner_of(context)
        run, uri = run_of(context, winner)
        context.services.tracking.log_text(run, reference_profile(context, winner).to_json(), REFERENCE)
        kept = context.outputs[training_parts.STAGE]
        tags = {
            "millrace.pipeline": pipeline.name,
            "millrace.candidate": winner,
            "millrace.training_set": str(kept["fingerprint"]),
            TRAINED_TO: str(kept["train_to"]),
            REPORT_TAG: f"runs:/{run}/{REPORT}",
            **retraining_tag(context),
            **self.tags,
        }
        entry = context.services.registry.register(ModelName(pipeline.model_name), uri, run, tags, key=self.fingerprint)
        return Outcome(f"{entry.model} v{entry.version} ({winner})", {"version": str(entry.version)})


@dataclass(frozen=True, slots=True)
class DeployStaging:
    """Put the version on the staging endpoint and ask it over HTTP what it would be asked in production."""

    group: str
    definition: str

    @property
    def name(self) -> str:
        """`staging`."""
        return STAGING

    @property
    def fingerprint(self) -> str:
        """The training that it belongs to."""
        return fingerprint(self.name, self.group)

    def run(self, context: RunContext) -> Outcome:
        """Deploy, ask the gates about what is served, and point the alias where they let it pass."""
        pipeline, version = context.pipeline, version_of(context)
        with context.target() as target:
            deploy_whole(target, DeploymentSpec(pipeline.staging_endpoint, pipeline.model_name, version))
            found = smoke_test(context, target, ModelVersion(version))
            asked = served(gates_of(context))
            results = [self._result(gate, context, target, found) for gate in asked]
        add_served(context, run_of(context, winner_of(context))[0], results, version)
        outcome = _staged(found, results)
        if outcome.status != "refused":
            context.outputs[self.name] = outcome.output  # for the promotion log: what was said of the endpoint
            _promote(context, version, "staging", "passed the gates", self.definition)
        return outcome

    def _result(self, gate: ServedGate, context: RunContext, target: DeploymentTarget, found: Served) -> GateResult:
        if not isinstance(gate, FastEnough):
            return gate.check_served(found)
        result = gate.check_served(replace(found, latencies_ms=timed(context, target, gate.requests)))
        if result.passed:
            return result
        return gate.check_served(replace(found, latencies_ms=timed(context, target, gate.requests)))


def _staged(found: Served, results: Sequence[GateResult]) -> Outcome:
    answers = as_json(Verdict(all(each.passed for each in results), tuple(results), {}))["gates"]
    output = {
        "rows": found.rows,
        "differing": found.differing,
        "largest_difference": found.largest_difference,
        "results": answers,
    }
    refused = "; ".join(each.reason for each in results if not each.passed)
    if refused:
        return Outcome(refused, {**output, "reason": refused}, "refused")
    # How fast is another figure in each run, and two runs on the same data say the same: it is in the verdict.
    said = "; ".join("fast enough" if each.gate == FAST_ENOUGH else each.reason for each in results)
    return Outcome(said or f"{found.rows} answers over HTTP, {found.differing} differ from offline", output)


@dataclass(frozen=True, slots=True)
class Promote:
    """Put the version on the production endpoint, at once or by a canary, and move the alias."""

    group: str
    definition: str
    why: str

    @property
    def name(self) -> str:
        """`production`."""
        return PRODUCTION

    @property
    def fingerprint(self) -> str:
        """The training that it belongs to."""
        return fingerprint(self.name, self.group)

    def run(self, context: RunContext) -> Outcome:
        """Deploy first, then move the alias: what the alias names has always been served.

        Where a canary is declared and another version serves, the canary is begun, and asked about by each run until it has ended.
        """
        version = version_of(context)
        with context.target() as target:
            canary = take_over(target, production_spec(context, version), again=self._was_promoted(context))
        if canary is not None and canary.outcome != "finished":
            return self._unfinished(context, canary)
        return self._promoted(context, version)

    def is_under_way(self, services: Services, pipeline: str) -> bool:
        """Whether a canary of it has been begun since it was last done: a release that is deployed again is done once more."""
        newest = services.runs.latest(pipeline, self.name)
        return newest is not None and newest.status == "waiting" and newest.fingerprint == self.fingerprint

    def _was_promoted(self, context: RunContext) -> bool:
        """Whether a canary has led to the alias before and none has begun since: who has the stage run now asks for another one."""
        services, pipeline = context.services, context.pipeline.name
        done = services.runs.done(pipeline, self.name, self.fingerprint)
        return done is not None and done.status == "done" and not self.is_under_way(services, pipeline)

    def _unfinished(self, context: RunContext, canary: CanaryStatus) -> Outcome:
        endpoint = context.pipeline.endpoint
        if canary.outcome == "running":
            kept = {"version": canary.version, "group": self.group, "definition": self.definition, "why": self.why}
            detail = f"canary of v{canary.version} on {endpoint}: {canary.share} % of the traffic"
            return Outcome(f"{detail}; {canary.message}" if canary.message else detail, kept, "waiting")
        reason = f"canary of v{canary.version} on {endpoint}, {canary.outcome.replace('_', ' ')}: {canary.message}"
        return Outcome(reason, {"version": canary.version, "reason": reason}, "refused")

    def _promoted(self, context: RunContext, version: str) -> Outcome:
        pipeline = context.pipeline
        _promote(context, version, "production", self.why, self.definition)
        champion = verdict_of(context)["champion"]
        if champion is not None and champion != version:
            close_episode(context.services, pipeline, str(champion), version)
        return Outcome(f"{pipeline.endpoint} serves v{version}", {"version": version, "endpoint": pipeline.endpoint})


def take_over(target: DeploymentTarget, spec: DeploymentSpec, *, again: bool = False) -> CanaryStatus | None:
    """The canary of a version, begun where it must be; None where the version serves without one.

    `again`: one that has finished, and was left since, is begun anew.
    """
    status = target.status(spec.endpoint) if spec.canary is not None else None
    if status is not None:
        canary = _canary_of(status, spec)
        if again and canary is not None and canary.outcome == "finished":
            canary = None
        if canary is None and status.version not in {None, spec.version}:
            return _begun(target, spec)
        if canary is not None and (canary.outcome != "finished" or status.version != spec.version):
            return canary if canary.outcome != "finished" else replace(canary, outcome="rolled_back", message=_BY_HAND)
    deploy_whole(target, replace(spec, canary=None))
    return None


def _begun(target: DeploymentTarget, spec: DeploymentSpec) -> CanaryStatus:
    status = target.deploy(spec)
    canary = _canary_of(status, spec)
    if canary is None:
        raise InvalidState(
            f"endpoint {spec.endpoint} did not begin a canary of v{spec.version}: {status.message or status.state}",
            hint=f"it still serves v{status.version}; see the server's log in the home's logs/",
        )
    return canary


def _canary_of(status: DeploymentStatus, spec: DeploymentSpec) -> CanaryStatus | None:
    """The endpoint's canary where it is this version's."""
    canary = status.canary
    return canary if canary and (canary.model, canary.version) == (spec.model, spec.version) else None


def version_of(context: RunContext) -> str:
    """The version that this run registered."""
    return str(context.outputs[REGISTER]["version"])


def production_spec(context: RunContext, version: str) -> DeploymentSpec:
    """The production endpoint with a version, its traffic logged."""
    pipeline = context.pipeline
    table = pipeline.predictions_table
    return DeploymentSpec(
        pipeline.endpoint,
        pipeline.model_name,
        version,
        (table.catalog, table.schema, pipeline.prefix),
        None if pipeline.rollout is None else settings_document(pipeline.rollout.settings),
    )


def _where(spec: DeploymentSpec) -> Mapping[str, object]:
    return {"endpoint": spec.endpoint, "capture": list(spec.capture) if spec.capture else None}


def deploy_whole(target: DeploymentTarget, spec: DeploymentSpec) -> None:
    """Deploy without a canary; InvalidState where the endpoint did not take the version."""
    status = target.deploy(spec)
    if status.state != "ready" or status.version != spec.version:
        raise InvalidState(
            f"endpoint {spec.endpoint} did not take v{spec.version}: {status.message or status.state}",
            hint=f"it still serves v{status.version}; see the server's log in the home's logs/",
        )


def _promote(context: RunContext, version: str, alias: str, why: str, definition: str) -> None:
    services = context.services
    promote(
        services.registry,
        services.promotions,
        services.events,
        services.clock,
        services.principal,
        model=ModelName(context.pipeline.model_name),
        version=ModelVersion(version),
        alias=alias,
        why=why,
        verdict=_verdict(context, definition),
    )


def _verdict(context: RunContext, definition: str) -> Mapping[str, object]:
    kept = verdict_of(context)
    winner = winner_of(context)
    metrics = kept["metrics"]
    return {
        "winner": winner,
        "metrics": metrics[winner] if isinstance(metrics, dict) else {},
        "champion": kept["champion"],
        "champion_metrics": kept["champion_metrics"],
        "results": _results(context),
        "definition": definition,
        "run_id": str(run_of(context, winner)[0]),
        DEPLOYMENT: _where(production_spec(context, version_of(context))),
        "as_of": iso(context.pins.as_of),
    }


def _results(context: RunContext) -> list[object]:
    """What all gates said so far: those of the staging endpoint once it was asked."""
    kept = (context.outputs.get(stage, {}).get("results", []) for stage in (VALIDATE, STAGING))
    return [each for results in kept if isinstance(results, list) for each in results]
