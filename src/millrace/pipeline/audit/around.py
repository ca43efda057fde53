"""A look at the pipeline's code: what reads around the lake, asks the wall clock, or differs from call to call.

None of these can be found by changing the lake's rows, so each is a warning with its line for a person to judge.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from millrace.pipeline.audit.findings import Finding

_FROM_LAKE = "import it as a table of the lake with its time, and take it as a Source"
_AS_OF = "use `as_of`: it is the time that the features are of"
_SEED = "features must be the same each time: compute it from the rows"

_FILES = "reads a file around the lake"
_SERVICES = "asks a service or a database around the lake"
_PATHS = "reads a path, which can't be cut at a time"

_FILE_READERS = (
    "read_csv read_parquet read_json read_excel read_feather read_orc read_pickle read_fwf read_html read_xml read_hdf "
    "read_delta read_ndjson read_avro read_ipc scan_csv scan_parquet scan_delta scan_ndjson scan_ipc DeltaTable ParquetFile "
    "ParquetDataset open_dataset loadtxt genfromtxt open read_text read_bytes pq.read_table parquet.read_table "
    "feather.read_table csv.reader csv.DictReader np.load numpy.load json.load pickle.load joblib.load dataset.dataset "
    "ds.dataset"
)
_SERVICE_CALLS = (
    "read_sql read_sql_query read_sql_table read_database from_uri requests.get requests.post requests.Session httpx.get "
    "httpx.post httpx.Client urlopen sqlite3.connect duckdb.connect duckdb.sql duckdb.query duckdb.execute create_engine "
    "psycopg.connect boto3.client"
)
_CHANCE = (
    "F.rand F.randn F.uuid F.shuffle functions.rand functions.randn monotonically_increasing_id random.random "
    "np.random.rand numpy.random.rand uuid.uuid4 uuid4"
)
# The last names of a dotted call, what it does, and what to do instead.
_KINDS = (
    (
        _FILE_READERS,
        _FILES,
        _FROM_LAKE,
    ),
    (
        _SERVICE_CALLS,
        _SERVICES,
        _FROM_LAKE,
    ),
    ("read.parquet read.csv read.json read.orc read.text read.load read.jdbc", _PATHS, _FROM_LAKE),
    (
        "datetime.now datetime.utcnow datetime.today date.today time.time pd.Timestamp.now Timestamp.now",
        "asks the wall clock",
        _AS_OF,
    ),
    (
        _CHANCE,
        "differs from call to call",
        _SEED,
    ),
)
_SUSPECTS: Mapping[str, tuple[str, str]] = {
    name: (what, hint) for names, what, hint in _KINDS for name in names.split()
}
_READERS = frozenset({"parquet", "csv", "json", "orc", "text", "load", "jdbc"})
_HOMES = frozenset(
    {"open_workspace", "require_home", "spark"}
)  # with an argument they lead to a home of one's own choosing


def look_around(page: Path) -> list[Finding]:
    """Warnings about a pipeline's file and the modules beside it that it has loaded in this process."""
    return [finding for file in project_files(page) for finding in look_at(file.read_text(), file)]


def project_files(page: Path) -> list[Path]:
    """The page, and the loaded modules in its folder or below that nobody installed."""
    page = page.resolve()
    files = {page}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or not str(file).endswith(".py") or name.partition(".")[0] in {"millrace", "__main__"}:
            continue
        path = Path(file).resolve()
        if path.is_file() and path.is_relative_to(page.parent) and "site-packages" not in path.parts:
            files.add(path)
    return sorted(files)


def look_at(text: str, file: Path) -> list[Finding]:
    """Warnings about one file's text; code that only runs when the file is a script is left out."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # it was loaded, so this Python can read it; another encoding, then
        return []
    return [
        Finding(
            "around the lake", "warning", f"{file.name}:{line}", f"{call} {what}", hint, evidence={"file": str(file)}
        )
        for call, line, what, hint in _suspects(tree)
    ]


def _suspects(tree: ast.Module) -> Iterator[tuple[str, int, str, str]]:
    for node in _nodes(tree):
        if not isinstance(node, ast.Call):
            continue
        name = _dotted(node.func)
        found = _suspect(name)
        if found is not None:
            yield (f"{name}()", node.lineno, *found)
        elif name.rpartition(".")[2] in _HOMES and _names_a_home(node):
            yield (
                f"{name}()",
                node.lineno,
                "opens a home by its path, which the audit can't change",
                "leave the path out",
            )


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "__name__" in ast.dump(child.test):
            continue
        yield child
        yield from _nodes(child)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return f"{inner}.{node.attr}" if inner else node.attr
    if isinstance(node, ast.Call):  # spark.read.option(...).csv(...)
        return _dotted(node.func)
    return ""


def _suspect(name: str) -> tuple[str, str] | None:
    parts = name.split(".")
    for length in (3, 2, 1):
        found = _SUSPECTS.get(".".join(parts[-length:])) if len(parts) >= length else None
        if found is not None:
            return found
    return (_PATHS, _FROM_LAKE) if "read" in parts[:-1] and parts[-1] in _READERS else None


def _names_a_home(node: ast.Call) -> bool:
    given = [*node.args, *(word.value for word in node.keywords if word.arg == "home")]
    return any(not (isinstance(value, ast.Constant) and value.value is None) for value in given)
