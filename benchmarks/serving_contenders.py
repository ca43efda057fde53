"""Who is measured in the serving benchmark, and how each is set up."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np
import peers
import pyarrow as pa
import pyarrow.parquet as pq
import serving_questions as ask
from serving_model import BY_FEATURES, BY_KEY, FEATURES, FEATURES_ONLY, Served
from serving_questions import Question, Questions

_HERE = Path(__file__).parent
_DRAIN_S = 120
FEAST_KEYS = 100_000
_REST_S = 140.0  # control, which is asked to drain, stays for two minutes


@dataclass(frozen=True)
class Contender:
    """A server.

    Attributes:
        name: as it stands in the page.
        command: given a free port, what starts it.
        questions: what it is asked.
        configuration: how it is set up, for the page.
        versions: of its packages.
        environment: variables, beside the few that all have.
        answering: part of the command line of the process that answers, where that is one among several; else empty.
        settle: called with the server's port after each question, so that nothing of it is left over for the next.
        rest_s: after the load it is let alone for so long, until it is at rest.
        rounds: it is measured in so many rounds at most.
    """

    name: str
    command: Callable[[int], Sequence[str]]
    questions: Sequence[Question]
    configuration: str
    versions: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    answering: str = ""
    settle: Callable[[int], None] = lambda _: None
    rest_s: float = 0.0
    rounds: int = sys.maxsize


def echo(served: Served, folder: Path) -> Contender:
    """The floor."""
    made = Questions(folder / "echo", served)
    return Contender(
        "echo",
        lambda port: [sys.executable, str(_HERE / "serving_echo.py"), str(port)],
        [made.make(rows, "/", ask.split, None) for rows in (1, 100)],
        "raw ASGI on uvicorn with uvloop and httptools: orjson.loads of the body, orjson.dumps of a constant",
        {name: metadata.version(name) for name in ("uvicorn", "orjson")},
    )


def millrace(served: Served, folder: Path) -> Contender:
    """Ours, with everything on."""
    made = Questions(folder / "millrace", served, served.token)
    path = f"/serving-endpoints/{BY_FEATURES}/invocations"
    binary = {"Arrow": (ask.arrow, ask.ARROW), "Parquet": (ask.parquet, ask.PARQUET)}
    asked = [made.make(rows, path, ask.split, ask.predictions) for rows in (1, 100)]
    asked += [
        made.make(100, path, write, ask.predictions, form=form, content_type=kind, optional=True)
        for form, (write, kind) in binary.items()
    ]
    looked_up = f"/serving-endpoints/{BY_KEY}/invocations"
    asked += [made.make(rows, looked_up, ask.keys, ask.predictions, what=ask.KEY) for rows in (1, 100)]
    only = f"/serving-endpoints/{FEATURES_ONLY}/invocations"
    asked += [made.make(rows, only, ask.keys, ask.first_features, what=ask.FEATURES_OF) for rows in (1, 100)]
    command = [sys.executable, "-m", "millrace.api.supervisor", "--home", str(served.home), "--workers", "1", "--port"]
    return Contender(
        "millrace",
        lambda port: [*command, str(port)],
        asked,
        "`millrace.api.supervisor --workers 1`: supervisor, one worker, and while they are needed control (REST, MLflow) and drain, all on the one core; "
        "token checked, requests and answers captured and drained to Delta meanwhile, request ids and served-model headers. "
        + "; ".join(f"{name}: `{path}`" for name, path in served.paths.items()),
        {name: metadata.version(name) for name in ("uvicorn", "onnxruntime", "xgboost-cpu", "lmdb")},
        answering="millrace.api.worker",
        settle=lambda port: _drain(port, served.token),
        rest_s=_REST_S,
    )


def mlflow(served: Served, folder: Path) -> Contender:
    """MLflow's own server."""
    environment, made = peers.made("serving-mlflow"), Questions(folder / "mlflow", served)
    asked = [made.make(rows, "/invocations", ask.split, ask.predictions) for rows in (1, 100)]
    asked.append(made.make(100, "/invocations", ask.parquet, ask.predictions, form="Parquet", content_type=ask.PARQUET))
    serve = ["models", "serve", "-m", str(served.folder), "-h", "127.0.0.1", "--env-manager", "local", "-w", "1", "-p"]
    return Contender(
        "MLflow",
        lambda port: [str(environment / "bin" / "mlflow"), *serve, str(port)],
        asked,
        "`mlflow models serve --env-manager local -w 1`",
        peers.versions(environment, ["mlflow", "uvicorn", "pandas", "xgboost-cpu"]),
        {"PATH": f"{environment / 'bin'}:/usr/bin:/bin", "MLFLOW_DISABLE_TELEMETRY": "true"},
    )


def mlserver(served: Served, folder: Path) -> Contender:
    """MLServer with its runtime for XGBoost."""
    environment, made = peers.made("serving-mlserver"), Questions(folder / "mlserver", served)
    place = folder / "mlserver-settings"
    place.mkdir()
    settings = {"debug": False, "parallel_workers": 0}
    model = {
        "name": "model",
        "implementation": "mlserver_xgboost.XGBoostModel",
        "parameters": {"uri": str(served.file)},
    }
    (place / "model-settings.json").write_text(json.dumps(model))

    asked = [made.make(rows, "/v2/models/model/infer", ask.tensor, ask.outputs) for rows in (1, 100)]
    grpc = [str(environment / "bin" / "python"), str(_HERE / "serving_grpc.py"), str(place / "settings.json")]
    asked += [made.make(rows, "", ask.doubles, ask.plain, form="gRPC", client=grpc) for rows in (1, 100)]

    def command(port: int) -> Sequence[str]:
        ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
        (place / "settings.json").write_text(json.dumps({"host": "127.0.0.1", **ports, **settings}))
        return [str(environment / "bin" / "mlserver"), "start", str(place)]

    return Contender(
        "MLServer",
        command,
        asked,
        f"`mlserver start`, mlserver_xgboost.XGBoostModel, settings.json `{json.dumps(settings)}` (no process "
        "beside the server's, for the one core), Open Inference Protocol with one FP64 tensor, "
        "as JSON by HTTP and as raw contents by gRPC (asked by a client of grpc.aio, since wrk can't)",
        peers.versions(environment, ["mlserver", "mlserver-xgboost", "uvicorn", "xgboost-cpu"]),
    )


def bentoml(served: Served, folder: Path) -> Contender:
    """BentoML, as in its example for XGBoost."""
    environment, made = peers.made("serving-bentoml"), Questions(folder / "bentoml", served)
    asked = [made.make(rows, "/predict", ask.data, ask.plain) for rows in (1, 100)]
    asked.append(made.make(1, "/predict_batched", ask.data, ask.plain, form="adaptive batching"))
    serve = ["serve", "serving_bentoml:Service", "--working-dir", str(_HERE), "--host", "127.0.0.1", "--port"]
    return Contender(
        "BentoML",
        lambda port: [str(environment / "bin" / "bentoml"), *serve, str(port)],
        asked,
        "`bentoml serve` (production is its default), workers=1, `np.ndarray` in and out, XGBClassifier with one thread; "
        "once plain and once with adaptive batching (max_batch_size=64)",
        peers.versions(environment, ["bentoml", "uvicorn", "xgboost-cpu"]),
        {
            "BENCH_MODEL": str(served.file),
            "BENTOML_HOME": str(folder / "bentoml-home"),
            "BENTOML_DO_NOT_TRACK": "True",
            "PATH": f"{environment / 'bin'}:/usr/bin:/bin",
        },
    )


def ray(served: Served, folder: Path) -> Contender:
    """Ray Serve; it takes so long to start that not every round has it."""
    environment, made = peers.made("serving-ray"), Questions(folder / "ray", served)
    return Contender(
        "Ray Serve",
        lambda port: [str(environment / "bin" / "python"), str(_HERE / "serving_ray.py"), str(port)],
        [made.make(rows, "/", ask.lists, ask.plain) for rows in (1, 100)],
        "`serve.run`, one replica, max_ongoing_requests=100, RAY_SERVE_THROUGHPUT_OPTIMIZED=1, no dashboard, all its "
        "processes on the one core",
        peers.versions(environment, ["ray", "uvicorn", "xgboost-cpu"]),
        {
            "BENCH_MODEL": str(served.file),
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{environment / 'bin'}:/usr/bin:/bin",
        },
        rounds=3,
    )


def feast(served: Served, folder: Path) -> Contender:
    """Feast's server of features, as it is by default."""
    return _feast(served, folder, "Feast", [], "by default it starts its worker anew after 1,000 requests")


def feast_steady(served: Served, folder: Path) -> Contender:
    """The same, but that its worker stays."""
    return _feast(
        served, folder, "Feast, never restarted", ["--max-requests", "0"], "its worker stays, which is not its default"
    )


def _feast(served: Served, folder: Path, name: str, more: Sequence[str], why: str) -> Contender:
    """One of Feast's servers; they too take long to start."""
    environment, made, place = (
        peers.made("feast"),
        Questions(folder / name.replace(" ", "-"), served),
        _feast_store(served, folder),
    )
    serve = ["serve", "-h", "127.0.0.1", "-w", "1", "--no-access-log", *more]
    return Contender(
        name,
        lambda port: [str(environment / "bin" / "feast"), "-c", str(place), *serve, "-p", str(port)],
        [
            made.make(rows, "/get-online-features", ask.service, ask.first_column, what=ask.FEATURES_OF)
            for rows in (1, 100)
        ],
        f"`feast {' '.join(serve)}` ({why}), SQLite online store with {FEAST_KEYS:,} keys, a feature service of one view",
        peers.versions(environment, ["feast", "uvicorn"]),
        {"FEAST_USAGE": "False", "PATH": f"{environment / 'bin'}:/usr/bin:/bin"},
        rounds=3,
    )


def _feast_store(served: Served, folder: Path) -> Path:
    """What both serve from, made once: the keys that are asked, and others. It takes minutes."""
    place, rows = folder / "feast-store", folder / "feast-rows.parquet"
    if not place.exists():
        _write_rows(served, rows)
        python, part = str(peers.made("feast") / "bin" / "python"), folder / "feast-store.part"
        subprocess.run([python, str(_HERE / "serving_feast.py"), str(rows), str(part)], check=True, capture_output=True)
        part.rename(place)
    return place


def _write_rows(served: Served, path: Path) -> None:
    others = np.random.default_rng(0).normal(size=(FEAST_KEYS - len(served.rows), len(FEATURES)))
    rows = np.concatenate([served.rows, others])
    values = {name: rows[:, number].copy() for number, name in enumerate(FEATURES)}
    stamps = pa.repeat(pa.scalar(dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)), len(rows))
    pq.write_table(pa.table({"k": np.arange(len(rows)), "ts": stamps} | values), path)


Make = Callable[[Served, Path], Contender]
ALL: tuple[Make, ...] = (echo, millrace, mlflow, mlserver, bentoml, ray, feast, feast_steady)
OURS = ("echo", "millrace")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _drain(port: int, token: str) -> None:
    """Have all that was captured moved now, which else would be done beside the next question."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_DRAIN_S)
    connection.request("POST", "/api/millrace/capture/drain", headers={"authorization": f"Bearer {token}"})
    connection.getresponse().read()
    connection.close()
