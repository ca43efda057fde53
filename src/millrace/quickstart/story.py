"""Two years of a shop, lived through: the whole loop, in virtual time, over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from millrace.alerts.types import Episode
from millrace.api.auth import home_token
from millrace.api.discovery import running_server
from millrace.api.runtime import ServerInfo
from millrace.core.errors import InvalidState, LawBroken
from millrace.pipeline.context import Quiet
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.execute import RunReport, run_pipeline
from millrace.pipeline.load import load_pipeline
from millrace.pipeline.plan import Request
from millrace.pipeline.policy import Decision
from millrace.pipeline.port import Progress
from millrace.pipeline.retrain import decide, in_production, subject
from millrace.pipeline.rollback import roll_back
from millrace.quickstart.equality import count_differences
from millrace.quickstart.home import mark_finished
from millrace.quickstart.report import Outcome, StageResult
from millrace.quickstart.shop import Shop, ShopPlan
from millrace.quickstart.simulate import open_shop
from millrace.quickstart.timeline import Timeline
from millrace.quickstart.traffic import ShopClient
from millrace.targets.port import DeploymentTarget
from millrace.workspace import Workspace

PAGE = Path(__file__).with_name("pipeline.py")

_DAY, _WEEK = timedelta(days=1), timedelta(days=7)
_MORNING, _BETWEEN = timedelta(hours=9), timedelta(minutes=12)
_REFRESH, _WATCH = Request(parts=frozenset({"refresh"})), Request(parts=frozenset({"watch"}))
_UP_TO_PRODUCTION = Request(parts=frozenset({"refresh", "train"}))


def live_through(workspace: Workspace, plan: ShopPlan, timeline: Timeline, progress: Progress) -> Outcome:
    """The whole story. The home must be fresh, and is in virtual time from here on.

    Raises:
        InvalidState: the first model did not pass its gates, so that there is nothing to tell.
    """
    with ExitStack() as stack:
        story = _Story(workspace, load_pipeline(PAGE), timeline, _Recorder(progress), stack)
        workspace.home_settings.set("pipelines", {story.pipeline.name: str(PAGE)})
        workspace.clock.set(plan.start)
        story.open_shop(plan)
        story.start_server()
        story.first_model()
        story.wait_for_drift()
        if story.episode is not None:
            story.retrain()
        story.try_rollback()
        outcome = story.compare(plan)
    mark_finished(workspace, plan.seed)
    return outcome


class _Recorder:
    """Shows progress, and keeps how each stage ended."""

    def __init__(self, shown: Progress) -> None:
        self.results: list[StageResult] = []
        self._shown = shown

    def stage(self, name: str, status: str, detail: str = "", seconds: float | None = None) -> None:
        """Pass it on; keep it when it ended."""
        self._shown.stage(name, status, detail, seconds)
        if status not in {"running", "skipped"}:
            self.results.append(StageResult(name, status, seconds or 0.0, detail))

    def advance(self, name: str, done: int, total: int) -> None:
        """Pass it on."""
        self._shown.advance(name, done, total)


@dataclass(frozen=True)
class _Prefixed:
    """The stages of a second run, under names of their own."""

    prefix: str
    to: Progress

    def stage(self, name: str, status: str, detail: str = "", seconds: float | None = None) -> None:
        """Pass it on; what is up to date is not worth a line."""
        if status != "skipped":
            self.to.stage(self.prefix + name, status, detail, seconds)

    def advance(self, name: str, done: int, total: int) -> None:
        """Pass it on."""
        self.to.advance(self.prefix + name, done, total)


@dataclass
class _Story:
    workspace: Workspace
    pipeline: Pipeline
    timeline: Timeline
    progress: _Recorder
    stack: ExitStack
    shop: Shop = field(init=False)
    today: datetime = field(init=False)
    episode: Episode | None = None
    retrained: str | None = None
    _arrived: datetime | None = None
    _server: Future[ServerInfo] = field(init=False)
    _client: ShopClient | None = None
    _target: DeploymentTarget | None = None

    def open_shop(self, plan: ShopPlan) -> None:
        """Simulate, and load what had arrived by the first training."""
        with self._stage("raw data") as tell:
            self.shop = open_shop(plan)
            self.today = self.timeline.live
            self.workspace.clock.set(self.today)
            self._arrive()
            tell(f"{self.shop.people.num_rows:,} customers, {self.shop.sales.num_rows:,} transactions in two years")

    def start_server(self) -> None:
        """Begin to start it: the features are computed meanwhile."""
        pool = self.stack.enter_context(ThreadPoolExecutor(1))
        self._server = pool.submit(lambda: self.stack.enter_context(running_server(self.workspace.home)))

    def first_model(self) -> None:
        """From features to the production endpoint."""
        report = run_pipeline(self.workspace, self.pipeline, self._open_target, self.progress, _UP_TO_PRODUCTION)
        _must_pass(report)

    def wait_for_drift(self) -> None:
        """Live from day to day until the alert opens, or until it is clear that it won't."""
        days = (self.timeline.calm_until - self.today).days
        with self._stage("serve and watch") as tell:
            for number in range(days):
                self._live_one_day()
                self._look()
                self.progress.advance("serve and watch", number + 1, days)
                if self.episode is not None:
                    tell(f"alert on {self.episode.opened_at:%Y-%m-%d}: {self.episode.reason}")
                    return
            tell(f"no alert until {self.today:%Y-%m-%d}")

    def retrain(self) -> None:
        """Wait until the policy says yes, train, and see how it goes on for a while."""
        with self._stage("wait for labels") as tell:
            decision = self._wait_for_labels(tell)
        if decision.state != "due":
            return
        self._arrive()
        progress = _Prefixed("retrain: ", self.progress)
        report = run_pipeline(self.workspace, self.pipeline, self._open_target, progress)
        if report.status == "refused":
            return
        champion = in_production(self.workspace, self.pipeline)
        self.retrained = str(champion.version) if champion else None
        with self._stage("serve the new version") as tell:
            self._live_until(self.today + self.timeline.after)
            tell(f"until {self.today:%Y-%m-%d}")

    def try_rollback(self) -> None:
        """Go back to the previous version and forth again, asking the endpoint each time."""
        if self.retrained is None:
            return
        with self._stage("rollback") as tell:
            served = [self._roll_back(why) for why in ("the quickstart tries a rollback", "and takes it back")]
            tell(f"v{served[0]} answered after it, v{served[1]} after it was taken back")

    def compare(self, plan: ShopPlan) -> Outcome:
        """Look every scored row up again offline."""
        with self._stage("compare online with offline") as tell:
            self._drain()
            scored, differing = count_differences(self.workspace, self.pipeline)
            tell(f"{scored:,} rows, {differing} differ")
        if differing:
            raise LawBroken(
                f"{differing} of {scored} served rows had other features than training would have seen",
                hint="please report this",
            )
        episode = self.episode
        return Outcome(
            stages=self.progress.results,
            began=plan.change.start if plan.change else None,
            detected=episode.opened_at if episode else None,
            reason=episode.reason if episode else "",
            retrained=self.retrained,
            scored=scored,
            differing=differing,
        )

    def _wait_for_labels(self, tell: Callable[[str], None]) -> Decision:
        begun, end = self.today, self.timeline.end
        while True:
            decision = decide(self.workspace, self.pipeline, self.today)
            tell(f"{self.today:%Y-%m-%d}: {decision.reason}")
            self.progress.advance("wait for labels", (self.today - begun).days, (end - begun).days)
            if decision.state == "due" or self.today >= end:
                return decision
            self._live_until(min(self._next_look(decision), end))

    def _next_look(self, decision: Decision) -> datetime:
        """The fourth Monday from here while most of the labels are missing, then each: a look in between could decide nothing."""
        asked = self.pipeline.retrain.min_new_labels if self.pipeline.retrain else 0
        return _next_monday(self.today) + (3 * _WEEK if (decision.labels or 0) < asked / 3 else timedelta(0))

    def _live_until(self, end: datetime) -> None:
        """Days of traffic, looked at once at their end: nothing is decided in between."""
        while self.today < end:
            self._live_one_day()
        self._look()

    def _live_one_day(self) -> None:
        workspace, day = self.workspace, self.today
        if day.weekday() == 0:
            workspace.clock.set(day)
            self._arrive()
            self._run(_REFRESH)
        monday = day - timedelta(days=day.weekday())
        for number, customer in enumerate(
            self.shop.requests(day, self.shop.active(monday), self.timeline.requests_per_day)
        ):
            if number % 10 == 0:
                workspace.clock.set(day + _MORNING + number * _BETWEEN / 10)
            self._asking().ask([customer])
        self.today = day + _DAY
        workspace.clock.set(self.today)

    def _look(self) -> None:
        self._drain()
        self._run(_WATCH)
        champion = in_production(self.workspace, self.pipeline)
        if champion is not None:
            about = subject(self.pipeline, champion.version)
            # As it was when it opened: its reason goes on to change while it is open.
            self.episode = self.episode or self.workspace.episodes.current(self.pipeline.name, about)

    def _run(self, request: Request) -> RunReport:
        return run_pipeline(self.workspace, self.pipeline, self._open_target, Quiet(), request)

    def _arrive(self) -> None:
        lake, now = self.workspace.lake, self.today
        for name, rows in (
            ("bronze.transactions", self.shop.transactions(now, self._arrived)),
            ("bronze.customers", self.shop.customers(now, self._arrived)),
        ):
            lake.ensure(name, rows.schema)
            lake.append(name, rows, why="arrived")
        self._arrived = now

    def _roll_back(self, why: str) -> str:
        done = roll_back(self.workspace, self._open_target, self.pipeline.model_name, why)
        monday = self.today - timedelta(days=self.today.weekday())
        answers = self._opened().query(self.pipeline.endpoint, [{"customer_id": int(self.shop.active(monday)[0])}])
        if answers.model_version != str(done.version):
            raise LawBroken(f"after a rollback to v{done.version} the endpoint answered with v{answers.model_version}")
        return answers.model_version

    def _drain(self) -> None:
        self._asking().drain()

    def _asking(self) -> ShopClient:
        if self._client is None:
            self._client = ShopClient(
                self._server.result().url, home_token(self.workspace.home), self.pipeline.endpoint
            )
            self.stack.callback(self._client.close)
        return self._client

    def _opened(self) -> DeploymentTarget:
        if self._target is None:
            self._target = self.workspace.target(self._server.result().url, home_token(self.workspace.home))
        return self._target

    def _open_target(self) -> AbstractContextManager[DeploymentTarget]:
        return nullcontext(self._opened())

    @contextmanager
    def _stage(self, name: str) -> Iterator[Callable[[str], None]]:
        said = [""]

        def tell(detail: str) -> None:
            said[0] = detail
            self.progress.stage(name, "running", detail)

        self.progress.stage(name, "running")
        begun = time.perf_counter()
        try:
            yield tell
        except BaseException as error:
            self.progress.stage(name, "failed", str(error).split("\n")[0], time.perf_counter() - begun)
            raise
        self.progress.stage(name, "done", said[0], time.perf_counter() - begun)


def _must_pass(report: RunReport) -> None:
    if report.status == "refused":
        raise InvalidState(f"the first model was refused: {'; '.join(report.reasons)}", hint="try another --seed")


def _next_monday(day: datetime) -> datetime:
    return day + _WEEK - timedelta(days=day.weekday())
