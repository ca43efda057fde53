"""A real Spark of one's own for tests: a Spark Connect server from a virtual environment beside ours, with the machine's Java.

Two packages install `pyspark`: the client that millrace uses and Spark itself. So Spark lives in an environment of its
own (`scripts/spark_venv.sh` makes it) and is reached over `sc://`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from millrace.core.errors import InvalidState, NotFound

ENVIRONMENT = ".spark"
OLDEST_JAVA = 17
_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
# A first start reads 400 MB of jars from a disk that others use too.
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 20.0
_JAVA_VERSION = re.compile(r'version "(\d+)')


def find_spark(environment: Path) -> Path:
    """Spark's own folder in a virtual environment.

    Raises:
        NotFound: there is no Spark in it.
    """
    found = sorted(environment.glob("lib/python3*/site-packages/pyspark/bin/spark-submit"))
    if not found:
        raise NotFound(
            f"there is no Spark in {environment}", hint="run scripts/spark_venv.sh, which downloads about 450 MB"
        )
    return found[0].parents[1]


def find_java() -> Path:
    """The home of a Java that Spark runs on: `JAVA_HOME`, else the one on the path.

    Raises:
        NotFound: no Java, or one that is too old.
    """
    home = os.environ.get("JAVA_HOME")
    binary = Path(home) / "bin" / "java" if home else Path(shutil.which("java") or "java-is-missing")
    hint = f"install Debian's package openjdk-{OLDEST_JAVA}-jre-headless, or set JAVA_HOME"
    if not binary.exists():
        raise NotFound("no Java is installed", hint=hint)
    said = subprocess.run([str(binary), "-version"], check=False, capture_output=True, text=True).stderr
    version = _JAVA_VERSION.search(said)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise NotFound(f"Spark needs Java {OLDEST_JAVA} or later; {binary} says: {said.strip()}", hint=hint)
    return binary.resolve().parents[1]


@contextmanager
def temporary_spark(environment: Path, *, memory: str = "1g", threads: int = 2) -> Iterator[str]:
    """Start a Spark Connect server on a free loopback port, yield its address (`sc://...`), and stop it at the end.

    Its times are UTC, its tables are in memory, its files are in a folder that is deleted with it. It takes about 10 s
    to start and, with `memory` as the limit of its heap, that much and half a gigabyte more.

    Args:
        environment: a virtual environment with the `pyspark` package in it.
        memory: as Java writes it.
        threads: how many tasks run at once.

    Raises:
        NotFound: Java or Spark is missing; the hint says how to get it.
        InvalidState: it did not start; the message holds the end of its log.
    """
    spark, java = find_spark(environment), find_java()
    folder = Path(tempfile.mkdtemp(prefix="millrace-spark-"))
    try:
        command = [str(spark / "bin" / "spark-submit"), "--class", _SERVER, "--name", "millrace-tests"]
        command += ["--driver-memory", memory, "--master", f"local[{threads}]"]
        with _serving(command, _environment(spark, java, environment, folder), folder, threads) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _serving(command: Sequence[str], environment: Mapping[str, str], folder: Path, threads: int) -> Iterator[str]:
    port = _free_port()
    settings = [f"{name}={value}" for name, value in _configuration(folder, port, threads).items()]
    command = [*_with_parent(), *command, *(part for setting in settings for part in ("--conf", setting))]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "spark-internal"], stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True
        )
    try:
        _wait_until_up(port, process, folder / "log")
        yield f"sc://127.0.0.1:{port}"
    finally:
        _stop(process)


def _configuration(folder: Path, port: int, threads: int) -> Mapping[str, object]:
    return {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.local.dir": folder / "scratch",
        "spark.sql.warehouse.dir": folder / "warehouse",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.session.timeZone": "UTC",
        # Two hundred, the default, is for a cluster: each small query would start two hundred tasks.
        "spark.sql.shuffle.partitions": threads,
        "spark.driver.extraJavaOptions": "-Duser.timezone=UTC",
    }


def _environment(spark: Path, java: Path, environment: Path, folder: Path) -> dict[str, str]:
    python = environment.absolute() / "bin" / "python"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_", "PYTHON"))}
    return kept | {
        "JAVA_HOME": str(java),
        "SPARK_HOME": str(spark.absolute()),
        "SPARK_CONF_DIR": str(folder),  # nobody else's settings
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": str(python),
        "PYSPARK_DRIVER_PYTHON": str(python),
        "TZ": "UTC",
    }


def _with_parent() -> list[str]:
    # Where the system can: the server ends when this process is killed, not only when it ends in order. Spark's start
    # script becomes the server by exec, so that the wish stays with it.
    return ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_until_up(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise InvalidState(f"Spark did not start: {_end_of(log)}", hint="run its command by hand to see why")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:].strip()


def _stop(process: subprocess.Popen[bytes]) -> None:
    # The whole group: Spark starts Python workers of its own.
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait(_STOP_TIMEOUT_S)
