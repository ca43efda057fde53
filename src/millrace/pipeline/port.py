"""What a pipeline needs: the parts of a workspace, and somebody to tell how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from millrace.core.clock import Clock
from millrace.core.events import EventLog
from millrace.core.principal import Principal
from millrace.core.settings import Settings

if TYPE_CHECKING:
    from millrace.alerts.port import AlertDesk, EpisodeStore
    from millrace.features.functions.store import FunctionStore
    from millrace.features.port import AsOfJoin, OnlineStore
    from millrace.features.windows import WindowEngine
    from millrace.jobs.port import Leases, RunStore
    from millrace.lake.lake import Lake
    from millrace.lake.port import SparkEngine
    from millrace.registry.port import PromotionLog, Registry
    from millrace.tracking.port import Tracking


class Services(Protocol):
    """The parts of a workspace that pipelines use; `workspace.Workspace` is one."""

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def principal(self) -> Principal: ...
    @property
    def events(self) -> EventLog: ...
    @property
    def lake(self) -> Lake: ...
    @property
    def spark(self) -> SparkEngine: ...
    @property
    def asof(self) -> AsOfJoin: ...
    @property
    def windows(self) -> WindowEngine: ...
    @property
    def online(self) -> OnlineStore: ...
    @property
    def functions(self) -> FunctionStore: ...
    @property
    def tracking(self) -> Tracking: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def promotions(self) -> PromotionLog: ...
    @property
    def runs(self) -> RunStore: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def episodes(self) -> EpisodeStore: ...
    @property
    def alerts(self) -> AlertDesk: ...


class Progress(Protocol):
    """Is told how a run goes. Never raises."""

    def stage(self, name: str, status: str, detail: str = "", seconds: float | None = None) -> None:
        """A stage started (`running`) or ended (`done`, `skipped`, `refused`, `failed`)."""
        ...

    def advance(self, name: str, done: int, total: int) -> None:
        """A running stage has done so many of its steps."""
        ...
