"""The PySpark client, with a look at each plan and command before it leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyspark.sql.connect.client import SparkConnectClient  # noqa: TID253 - this is its adapter

if TYPE_CHECKING:
    from pyspark.sql.connect.client.core import ExecutionInfo

Look = Callable[[Any], None]
Intercept = Callable[[Any, Any], "ExecutionInfo | None"]


class LakeClient(SparkConnectClient):  # type: ignore[misc]  # pyspark is untyped
    """A `SparkConnectClient` that lets its session look at plans, and take over commands that write tables of the lake."""

    look: Look | None = None
    intercept: Intercept | None = None

    def execute_command(self, command: Any, observations: Any = None) -> Any:
        """Run a command, unless the session did it itself."""
        done = self.intercept(command, observations) if self.intercept else None
        if done is not None:
            return None, {}, done
        return super().execute_command(command, observations)

    def execute_command_as_iterator(self, command: Any, observations: Any = None) -> Any:
        """Run a command that answers bit by bit."""
        if self.intercept:
            self.intercept(command, observations)
        return super().execute_command_as_iterator(command, observations)

    def _set_relation_in_plan(self, plan: Any, relation: Any) -> None:
        if self.look:
            self.look(relation)
        super()._set_relation_in_plan(plan, relation)

    def _set_command_in_plan(self, plan: Any, command: Any) -> None:
        if self.look:
            self.look(command)
        super()._set_command_in_plan(plan, command)
