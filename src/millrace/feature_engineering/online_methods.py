"""The client's part for the online store."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.core.errors import InvalidInput
from millrace.feature_engineering.options import only_default
from millrace.features.publish import publish
from millrace.features.types import OnlineTable
from millrace.workspace import Workspace

_ONLINE = (None, "embedded", "default")


class OnlineMethods:
    """Publishing."""

    _workspace: Workspace

    def publish_table(
        self,
        *,
        source_table_name: str,
        online_store: str | None = None,
        online_table_name: str | None = None,
        publish_mode: str = "TRIGGERED",
        filter_condition: str | None = None,
        mode: str = "merge",
        streaming: bool = False,
        features: Sequence[str] | None = None,
    ) -> OnlineTable:
        """Bring the online store up to date with a feature table, as of now.

        Args:
            source_table_name: the feature table.
            online_store: None: the home's own.
            online_table_name: None: as the source.
            publish_mode: `TRIGGERED` or `SNAPSHOT`: both publish now; `CONTINUOUS` is not supported.
            filter_condition: not supported: all keys are published.
            mode: `merge`.
            streaming: not supported.
            features: not supported: all columns are published.
        """
        only_default(filter_condition=filter_condition, streaming=streaming or None, features=features)
        if mode != "merge":
            raise InvalidInput(f"mode '{mode}' is not supported", hint="use merge: the newest row of each key is there")
        if online_store not in _ONLINE:
            raise InvalidInput(
                f"there is no online store '{online_store}'", hint="leave online_store out: the home has one"
            )
        if online_table_name not in (None, source_table_name):
            raise InvalidInput("an online table has its source's name", hint="leave online_table_name out")
        if publish_mode not in {"TRIGGERED", "SNAPSHOT"}:
            raise InvalidInput(f"publish_mode '{publish_mode}' is not supported", hint="use TRIGGERED")
        workspace = self._workspace
        return publish(workspace.lake, workspace.online, source_table_name, as_of=workspace.clock.now())
