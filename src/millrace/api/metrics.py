"""Metrics in Prometheus' form. Nothing is kept here: each scrape asks the workers, the store and the folders anew.

Workers count, each for itself, and `worker` tells them apart. A worker that is replaced begins again at 0, which is what
Prometheus' `rate` expects of a counter; a sum made here would go backwards instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from millrace.api.deployments import Deployments
from millrace.api.workers import Workers
from millrace.core.clock import SystemClock, from_epoch_us
from millrace.core.errors import InvalidState
from millrace.core.names import TableName
from millrace.features.spec import from_json
from millrace.serving.capture.lag import capture_lag
from millrace.serving.requests.counts import BOUNDS_S
from millrace.serving.types import Endpoint
from millrace.workspace import Workspace

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

Counted = Mapping[str, Any]
_SERVED = ("endpoint", "entity", "worker")
_LE = (*map(str, BOUNDS_S), "+Inf")


@dataclass(frozen=True)
class Metrics:
    """What Prometheus scrapes. Thread-safe."""

    workspace: Workspace
    workers: Workers
    deployments: Deployments

    def write(self, accept: str) -> tuple[bytes, str]:
        """All metrics, and their content type: OpenMetrics where the `Accept` header asks for it."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self), content_type

    def collect(self) -> Iterable[Metric]:
        """All metrics, as they are now."""
        counted, found = self.workers.metrics(), self.deployments.list()
        yield from _processes(counted)
        yield from _requests(counted)
        yield from _endpoints(found, counted)
        yield from self._features(found)
        yield from self._capture(counted)

    def _features(self, found: Sequence[Endpoint]) -> Iterator[Metric]:
        age = _gauge("millrace_feature_age_seconds", "Age of the newest row of an online table.", "endpoint", "table")
        published = _gauge(
            "millrace_feature_published_age_seconds", "Time since an online table was published.", "endpoint", "table"
        )
        up, now = _gauge("millrace_online_store_up", "Whether the online store answers."), self.workspace.clock.now()
        try:
            for endpoint, name in sorted({(each.name, name) for each in found for name in _tables(each)}):
                table = self.workspace.online.table(TableName.parse(name))
                if table is not None:
                    published.add_metric([endpoint, name], _age_s(now, table.published_at))
                    if table.newest_us is not None:
                        age.add_metric([endpoint, name], _age_s(now, from_epoch_us(table.newest_us)))
            up.add_metric([], 1)
        except InvalidState:
            up.add_metric([], 0)
        yield from (age, published, up)

    def _capture(self, counted: Sequence[Counted]) -> Iterator[Metric]:
        lag = capture_lag(self.workspace.capture_root)
        age_s = 0.0 if lag.written_at is None else _age_s(SystemClock().now(), lag.written_at)
        dropped = _counter("millrace_capture_dropped", "Requests that were answered and could not be kept.", "worker")
        for worker, counts in _answering(counted):
            dropped.add_metric([worker], counts["dropped"])
        yield dropped
        for name, value, what in (
            ("segments", lag.segments, "Segments that are not yet in the inference tables."),
            ("bytes", lag.size_bytes, "Bytes in segments that are not yet in the inference tables."),
            ("age_seconds", age_s, "Time since the oldest segment that waits was written to; 0 where none waits."),
        ):
            gauge = _gauge(f"millrace_capture_waiting_{name}", what)
            gauge.add_metric([], value)
            yield gauge


def _processes(counted: Sequence[Counted]) -> Iterator[Metric]:
    up = _gauge("millrace_process_up", "Whether a process of the server answers.", "process")
    restarts = _counter("millrace_process_restarts", "How often a process was replaced.", "process")
    up.add_metric(["control"], 1)
    for slot, counts in enumerate(counted):
        up.add_metric([f"worker-{slot}"], 1 if counts else 0)
    for worker, counts in _answering(counted):
        restarts.add_metric([f"worker-{worker}"], counts["restarts"])
    yield from (up, restarts)


def _requests(counted: Sequence[Counted]) -> Iterator[Metric]:
    requests = _counter("millrace_requests", "Requests by the status of their answer.", *_SERVED, "status")
    rows = _counter("millrace_rows", "Rows that were predicted or looked up.", *_SERVED)
    whole = _histogram("millrace_request_duration_seconds", "From the whole body to the answer, capture included.")
    predict = _histogram(
        "millrace_predict_duration_seconds",
        "The model's part, the wait for its turn included; a call that several requests share counts for each.",
    )
    flying = _gauge("millrace_requests_in_flight", "Requests that are being answered.", "endpoint", "worker")
    waiting = _gauge("millrace_requests_waiting", "Requests that wait for their turn at a model.", *_SERVED)
    copies = _counter("millrace_shadow_copies", "Copies for shadows: answered, or dropped.", *_SERVED, "outcome")
    for worker, counts in _answering(counted):
        for each in counts["shadows"]:
            for outcome in ("answered", "dropped"):
                copies.add_metric([each["endpoint"], each["entity"], worker, outcome], each[outcome])
        for each in counts["entities"]:
            labels = [each["endpoint"], each["entity"], worker]
            for status, count in each["statuses"].items():
                requests.add_metric([*labels, status], count)
            rows.add_metric(labels, each["rows"])
            _add_latencies(whole, labels, each["whole"])
            _add_latencies(predict, labels, each["predict"])
        for endpoint, count in counts["in_flight"].items():
            flying.add_metric([endpoint, worker], count)
        for endpoint, entities in counts["waiting"].items():
            for entity, count in entities.items():
                waiting.add_metric([endpoint, entity, worker], count)
    yield from (requests, rows, whole, predict, flying, waiting, copies)


def _endpoints(found: Sequence[Endpoint], counted: Sequence[Counted]) -> Iterator[Metric]:
    ready = _gauge("millrace_endpoint_ready", "Whether an endpoint has a configuration that serves.", "endpoint")
    traffic = _gauge("millrace_traffic_percent", "Share of the requests to an endpoint.", "endpoint", "entity")
    labels = ("endpoint", "entity", "serves", "version", "path")
    paths = _gauge(
        "millrace_predict_path_info", "How a served entity answers; always 1. Several where workers differ.", *labels
    )
    asleep = _gauge(
        "millrace_model_asleep", "Whether no worker has the model in memory until it is asked.", "endpoint", "entity"
    )
    for endpoint in found:
        ready.add_metric([endpoint.name], int(endpoint.state.ready))
        for entity in endpoint.config.served:
            traffic.add_metric([endpoint.name, entity.name], endpoint.config.traffic.get(entity.name, 0))
            for path in _paths(endpoint, entity.name, counted):
                paths.add_metric([endpoint.name, entity.name, entity.entity_name, entity.entity_version or "", path], 1)
            asleep.add_metric([endpoint.name, entity.name], int(entity.name in endpoint.state.asleep))
    yield from (ready, traffic, paths, asleep)


def _paths(endpoint: Endpoint, entity: str, counted: Sequence[Counted]) -> list[str]:
    """The paths on which workers have an entity, one where they are alike; where none has it, as it was deployed."""
    # Workers of the version before, which answer while an upgrade replaces them, tell no paths.
    loaded = [counts.get("paths", {}).get(endpoint.name, {}).get(entity) for _, counts in _answering(counted)]
    told = {path for path in loaded if path is not None} or {endpoint.state.paths.get(entity, "")}
    return sorted({path.partition(":")[0] for path in told})


def _answering(counted: Sequence[Counted]) -> list[tuple[str, Counted]]:
    """The workers that answer, by slot."""
    return [(str(slot), counts) for slot, counts in enumerate(counted) if counts]


def _tables(endpoint: Endpoint) -> Iterator[str]:
    """The feature tables that an endpoint looks up."""
    for plan in endpoint.plans:
        if plan.feature_spec is not None:
            for lookup in from_json(plan.feature_spec).lookups:
                yield str(TableName.parse(lookup.table_name))


def _age_s(now: datetime, then: datetime) -> float:
    return max(now - then, timedelta(0)).total_seconds()


def _add_latencies(family: HistogramMetricFamily, labels: Sequence[str], latencies: Counted) -> None:
    if any(latencies["buckets"]):
        family.add_metric(labels, list(zip(_LE, accumulate(latencies["buckets"]), strict=True)), latencies["sum_s"])


def _gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, what, labels=labels)


def _counter(name: str, what: str, *labels: str) -> CounterMetricFamily:
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(name, what, labels=labels)


def _histogram(name: str, what: str) -> HistogramMetricFamily:
    from prometheus_client.core import HistogramMetricFamily

    return HistogramMetricFamily(name, what, labels=_SERVED)
