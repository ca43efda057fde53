"""Everything that the use cases need, wired: the only place that names adapters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidState, NotFound
from millrace.core.events import EventLog
from millrace.core.principal import Principal, current_user
from millrace.core.settings import Settings
from millrace.database.clock import HomeClock
from millrace.workspace.engines import acquire, release
from millrace.workspace.place import PLACE, is_in_home, place_of, refuse_moved
from millrace.workspace.stores import online_store

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from millrace.access.port import TokenStore
    from millrace.alerts.port import AlertDesk, EpisodeStore
    from millrace.database.settings import HomeSettings
    from millrace.features.functions.store import FeatureSpecStore, FunctionStore
    from millrace.features.port import AsOfJoin, OnlineStore
    from millrace.features.windows import WindowEngine
    from millrace.jobs.port import JobDesk, Leases, RunStore
    from millrace.jobs.schedules.port import ScheduleDesk
    from millrace.lake.lake import Lake
    from millrace.lake.port import Catalog, SparkEngine, SqlReader
    from millrace.lake.types import Location, Version
    from millrace.registry.port import PromotionLog, Registry
    from millrace.serving.port import EndpointStore
    from millrace.targets.port import DeploymentTarget, FeatureTarget
    from millrace.tracking.port import Tracking


@dataclass(frozen=True)
class Workspace:
    """One home, opened. Parts are made on first use, because some of them are slow to import."""

    settings: Settings
    principal: Principal
    engine: Engine
    home_settings: HomeSettings
    clock: HomeClock
    events: EventLog

    @property
    def home(self) -> Path:
        """The home directory."""
        return self.settings.home

    @property
    def capture_root(self) -> Path:
        """Where workers write what they served, before it is drained into the lake."""
        return self.home / "capture"

    @property
    def proofs_root(self) -> Path:
        """Where is kept which predict path each served model may take. May be deleted: what is missing is proved again."""
        return self.home / "serving"

    @cached_property
    def catalog(self) -> Catalog:
        """Which tables there are."""
        from millrace.lake.adapters.sql_catalog import SqlCatalog

        return SqlCatalog(self.engine)

    @cached_property
    def lake(self) -> Lake:
        """Tables by name."""
        from millrace.lake.adapters.delta import DeltaTableStore
        from millrace.lake.lake import Lake

        return Lake(self.catalog, DeltaTableStore(), self.clock, self.principal, self.settings.warehouse)

    @cached_property
    def spark(self) -> SparkEngine:
        """The engine that runs feature code: embedded, or remote where the settings name one; one per home and process."""
        return acquire((self.settings, self.principal), self._make_spark)

    def _make_spark(self) -> SparkEngine:
        if self.settings.spark_remote:
            from millrace.lake.adapters.spark_connect import SparkConnectEngine

            return SparkConnectEngine(self.settings.spark_remote, self.lake)
        from millrace.lake.adapters.sail import SailEngine

        return SailEngine(self.settings.threads, self.lake)

    @cached_property
    def asof(self) -> AsOfJoin:
        """Point-in-time joins over the lake's files, on the engine that the settings name."""
        match self.settings.join_engine:
            case "spark":
                from millrace.features.adapters.spark_asof import SparkAsOfJoin

                return SparkAsOfJoin(self.spark)
            case "duckdb":
                from millrace.features.adapters.duckdb_asof import DuckDbAsOfJoin

                return DuckDbAsOfJoin(self.settings.threads)
            case "arrow":
                from millrace.features.adapters.arrow_asof import ArrowAsOfJoin

                return ArrowAsOfJoin(self.settings.threads)

    @cached_property
    def windows(self) -> WindowEngine:
        """Window features over the lake's files: on the engine that joins, where that is Spark, else on DuckDB."""
        if self.settings.join_engine == "spark":
            from millrace.features.adapters.spark_windows import SparkWindows

            return SparkWindows(self.spark)
        from millrace.features.adapters.duckdb_windows import DuckDbWindows

        return DuckDbWindows(self.settings.threads)

    @cached_property
    def online(self) -> OnlineStore:
        """Features for lookups inside a request: in the home, or on the server that the settings name."""
        return online_store(self.settings)

    @cached_property
    def functions(self) -> FunctionStore:
        """Registered feature functions."""
        from millrace.features.adapters.sql_functions import SqlFunctionStore

        return SqlFunctionStore(self.engine, self.clock, self.principal)

    @cached_property
    def feature_specs(self) -> FeatureSpecStore:
        """Feature specs by name."""
        from millrace.features.adapters.sql_feature_specs import SqlFeatureSpecStore

        return SqlFeatureSpecStore(self.engine, self.clock, self.principal)

    @cached_property
    def tracking(self) -> Tracking:
        """Experiments and runs."""
        from millrace.tracking.adapters.mlflow import MlflowTracking

        return MlflowTracking(self.settings.mlflow_url, self.home / "mlartifacts", self.clock)

    @cached_property
    def registry(self) -> Registry:
        """Models, versions, aliases."""
        from millrace.registry.adapters.mlflow import MlflowRegistry

        settings = self.settings
        return MlflowRegistry(settings.mlflow_url, self.clock, self.home / "mlartifacts", settings.model_sources)

    @cached_property
    def promotions(self) -> PromotionLog:
        """Who moved which alias, when and why."""
        from millrace.registry.adapters.sql_promotions import SqlPromotionLog

        return SqlPromotionLog(self.engine)

    @cached_property
    def runs(self) -> RunStore:
        """Runs of pipelines and their stages."""
        from millrace.jobs.adapters.sql import SqlRunStore

        return SqlRunStore(self.engine)

    @cached_property
    def leases(self) -> Leases:
        """Who may do what only one may."""
        from millrace.jobs.adapters.sql import SqlLeases

        return SqlLeases(self.engine)

    @cached_property
    def jobs(self) -> JobDesk:
        """Jobs, their runs and attempts, task values."""
        from millrace.jobs.adapters.sql_execution import SqlExecution
        from millrace.jobs.adapters.sql_job_runs import SqlJobRunStore
        from millrace.jobs.adapters.sql_jobs import SqlJobStore, SqlTaskValues
        from millrace.jobs.port import JobDesk

        engine, clock, principal = self.engine, self.clock, self.principal
        return JobDesk(
            clock=clock,
            principal=principal,
            events=self.events,
            jobs=SqlJobStore(engine, clock, principal),
            runs=SqlJobRunStore(engine, clock, principal),
            values=SqlTaskValues(engine),
            leases=self.leases,
            execution=lambda holder: SqlExecution(engine, clock, principal, holder),
        )

    @cached_property
    def schedules(self) -> ScheduleDesk:
        """What makes jobs run by themselves."""
        from millrace.jobs.adapters.sql_marks import SqlMarkStore
        from millrace.jobs.schedules.port import ScheduleDesk
        from millrace.lake.adapters.delta_newest import DeltaNewest
        from millrace.registry.adapters.mlflow_newest import MlflowNewest

        tables = DeltaNewest(self.catalog, self._version_at)
        return ScheduleDesk(self.jobs, SqlMarkStore(self.engine), tables, MlflowNewest(self.settings.mlflow_url))

    def _version_at(self, location: Location) -> Version:
        return self.lake.store.version(location)

    @cached_property
    def endpoints(self) -> EndpointStore:
        """Endpoints and what they serve."""
        from millrace.serving.adapters.sql_endpoints import SqlEndpointStore

        return SqlEndpointStore(self.engine)

    @cached_property
    def tokens(self) -> TokenStore:
        """Tokens and their rights."""
        from millrace.access.adapters.sql_tokens import SqlTokenStore

        return SqlTokenStore(self.engine, self.clock, self.principal)

    @cached_property
    def episodes(self) -> EpisodeStore:
        """Alert episodes and the outbox."""
        from millrace.alerts.adapters.sql_episodes import SqlEpisodeStore

        return SqlEpisodeStore(self.engine)

    @cached_property
    def alerts(self) -> AlertDesk:
        """Rules, silences, channels, episodes and the outbox."""
        from millrace.alerts.adapters.outgoing import OutgoingChannels
        from millrace.alerts.adapters.sql_channels import SqlChannelBook
        from millrace.alerts.adapters.sql_outbox import SqlOutbox
        from millrace.alerts.adapters.sql_rules import SqlRuleStore
        from millrace.alerts.port import AlertDesk

        return AlertDesk(
            clock=self.clock,
            principal=self.principal,
            events=self.events,
            episodes=self.episodes,
            outbox=SqlOutbox(self.engine),
            rules=SqlRuleStore(self.engine),
            book=SqlChannelBook(self.engine),
            channels=OutgoingChannels(),
            sql=self.sql(),
        )

    def sql(self, timeout_s: float = 60.0) -> SqlReader:
        """The lake by SQL; a query may take at most this long."""
        from millrace.lake.adapters.duckdb_sql import DuckDbSql

        return DuckDbSql(self.lake, self.settings.threads, timeout_s)

    def target(self, url: str, token: str, certificate: str | None = None) -> DeploymentTarget:
        """Deployment to a running millrace server; `certificate` is what it shows where it speaks TLS, as PEM."""
        from millrace.targets.adapters.millrace_http import MillraceTarget

        return MillraceTarget(url, token, certificate=certificate)

    def feature_target(self, url: str, token: str, certificate: str | None = None) -> FeatureTarget:
        """Endpoints that serve features, on a running millrace server."""
        from millrace.targets.adapters.feature_http import MillraceFeatureTarget

        return MillraceFeatureTarget(url, token, certificate=certificate)

    def close(self) -> None:
        """Stop what was started (the Spark engine, the online store, database connections). Idempotent."""
        if "spark" in self.__dict__:
            release(self.__dict__.pop("spark"))
        if "online" in self.__dict__:
            self.__dict__.pop("online").close()
        self.engine.dispose()


def open_workspace(home: str | Path | None = None, *, principal: Principal | None = None) -> Workspace:
    """Open a home, making it where it is missing.

    Raises:
        InvalidState: the home can't be made or its database can't be opened.
        NewerHome: it was written by a newer millrace.
        InvalidState: it was copied or moved here from another place.
    """
    settings = Settings.load(home)
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidState(
            f"the home {settings.home} can't be made: {error.strerror}",
            hint="choose another with --home or MILLRACE_HOME",
        ) from error
    from millrace.database.engine import open_database  # not where the database is only read: see `serving_home.py`
    from millrace.database.events import SqlEventLog
    from millrace.database.settings import HomeSettings

    engine = open_database(settings.database_url)
    kept = HomeSettings(engine)
    _check_place(settings, kept)
    return Workspace(settings, principal or current_user(), engine, kept, HomeClock(kept), SqlEventLog(engine))


def require_home(home: str | Path | None = None, *, principal: Principal | None = None) -> Workspace:
    """Open a home that must be there already, for commands that only read.

    Raises:
        NotFound: there is no home at that place.
    """
    settings = Settings.load(home)
    if not settings.home.is_dir():
        raise NotFound(
            f"there is no millrace home at {settings.home}",
            hint="run `millrace quickstart` or `millrace init NAME`, or name the home with --home",
        )
    return open_workspace(home, principal=principal)


def _check_place(settings: Settings, kept: HomeSettings) -> None:
    """Write down where the home was made, and refuse one that was moved."""
    if is_in_home(settings) and kept.get(PLACE) is None:
        kept.set(PLACE, place_of(settings))
    refuse_moved(settings, kept.get(PLACE))
