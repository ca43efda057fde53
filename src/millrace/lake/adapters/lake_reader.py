"""`spark.read` with the workspace's tables."""

from __future__ import annotations

from typing import Any

from pyspark.sql.connect.plan import Read  # noqa: TID253 - this is its adapter
from pyspark.sql.connect.readwriter import DataFrameReader  # noqa: TID253 - this is its adapter

from millrace.core.errors import InvalidInput
from millrace.lake.adapters.session_scope import check_thread, current, refuse
from millrace.lake.sql.tokens import name_parts


class LakeReader(DataFrameReader):  # type: ignore[misc]  # pyspark is untyped
    """PySpark's reader; `table` looks into the workspace first, and paths can't be read inside feature functions."""

    def table(self, tableName: str) -> Any:  # noqa: N803 - PySpark's name
        """A table, at the version of the option `versionAsOf`, or of the Clock time of `timestampAsOf`.

        Raises:
            InvalidInput: an option that is no version, or both.
            NotFound: there is no such version.
        """
        version, time = self._pin()
        parts = name_parts(tableName)
        session: Any = self._client
        frame = session.named(parts, version, time) if parts else None
        if frame is not None:
            return frame
        plan = Read(tableName, self._options)
        scope = current()
        if scope is not None:
            if not parts:
                raise refuse(f"read {tableName}", "read tables of the workspace by their names")
            scope.guard.allowed.add(plan._plan_id)  # noqa: SLF001 - a view that the function made itself
        return self._df(plan)

    def changes(self, tableName: str) -> Any:  # noqa: N803 - PySpark's name
        """PySpark's; not inside feature functions."""
        if current() is not None:
            raise refuse("read a table's changes", "read the table")
        return super().changes(tableName)

    def _df(self, plan: Any) -> Any:
        check_thread()
        if current() is not None and not isinstance(plan, Read) and type(plan).__name__ == "DataSource":
            raise refuse(
                "read files: they can't be cut at its time", "import them into a table: millrace table import NAME FILE"
            )
        return super()._df(plan)

    def _pin(self) -> tuple[int | None, str | None]:
        options = {name.lower(): value for name, value in self._options.items()}
        version, time = options.get("versionasof"), options.get("timestampasof")
        if version is not None and time is not None:
            raise InvalidInput("versionAsOf and timestampAsOf are both given", hint="give one of them")
        if version is not None and not str(version).isdecimal():
            raise InvalidInput(f"versionAsOf is '{version}'", hint="give a version's number")
        return None if version is None else int(version), time
