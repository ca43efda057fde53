"""The client's part for the online store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, cast, get_args

from millrace.core.errors import AlreadyExists, InvalidInput, NotFound
from millrace.core.names import TableName, did_you_mean
from millrace.feature_engineering.options import only_default
from millrace.features.online.freshness import OnlineFreshness, online_freshness
from millrace.features.online.publish import Published, PublishMode, publish_table
from millrace.workspace import Workspace


@dataclass(frozen=True, slots=True)
class OnlineStoreInfo:
    """An online store.

    Attributes:
        name: `embedded`, the home's own, or `redis` where the settings name a server.
        state: `AVAILABLE`: it answered.
    """

    name: str
    state: str = "AVAILABLE"


class OnlineMethods:
    """Publishing, and the one online store that a home has."""

    _workspace: Workspace

    def publish_table(
        self,
        *,
        source_table_name: str,
        online_store: str | OnlineStoreInfo | None = None,
        online_table_name: str | None = None,
        publish_mode: str = "TRIGGERED",
        filter_condition: str | None = None,
        mode: str = "merge",
        streaming: bool = False,
        features: Sequence[str] | None = None,
    ) -> Published:
        """Bring the online store up to date with a feature table, as of now.

        Args:
            source_table_name: the feature table.
            online_store: None: the home's own.
            online_table_name: None: as the source.
            publish_mode: `TRIGGERED` writes what changed since the last publish (all, where that can't be known: the result
                says why), `SNAPSHOT` all; `CONTINUOUS` is not supported.
            filter_condition: not supported: all keys are published.
            mode: `merge`.
            streaming: not supported.
            features: not supported: all columns are published.

        Returns:
            What was done. Both modes end with the same content.
        """
        only_default(filter_condition=filter_condition, streaming=streaming or None, features=features)
        if mode != "merge":
            raise InvalidInput(f"mode '{mode}' is not supported", hint="use merge: the newest row of each key is there")
        self._check_store(online_store)
        if online_table_name not in (None, source_table_name):
            raise InvalidInput("an online table has its source's name", hint="leave online_table_name out")
        if publish_mode not in get_args(PublishMode):
            raise InvalidInput(
                f"publish_mode '{publish_mode}' is not supported",
                hint="use TRIGGERED, as often as it should be fresh, or SNAPSHOT",
            )
        workspace = self._workspace
        return publish_table(
            workspace.lake,
            workspace.online,
            source_table_name,
            as_of=workspace.clock.now(),
            mode=cast("PublishMode", publish_mode),
        )

    def drop_online_table(self, name: str, online_store: str | OnlineStoreInfo | None = None) -> None:
        """Take a table out of the online store. The feature table itself stays.

        Raises:
            NotFound: it is not online.
        """
        self._check_store(online_store)
        online, table = self._workspace.online, TableName.parse(name)
        if online.table(table) is None:
            known = [str(one.name) for one in online.tables()]
            raise NotFound(f"table {table} is not online", hint=did_you_mean(str(table), known), table=str(table))
        online.remove(table)

    def online_freshness(self) -> Sequence[OnlineFreshness]:
        """What is online, how old it is, and how far behind its feature table."""
        workspace = self._workspace
        return online_freshness(workspace.online, workspace.lake, workspace.clock)

    def list_online_stores(self) -> list[OnlineStoreInfo]:
        """The home's store.

        Raises:
            InvalidState: it does not answer.
        """
        self._workspace.online.tables()
        return [OnlineStoreInfo(self._store_name)]

    def get_online_store(self, *, name: str) -> OnlineStoreInfo:
        """The home's store, by its name.

        Raises:
            NotFound: there is none of that name.
        """
        (store,) = self.list_online_stores()
        if name != store.name:
            raise NotFound(f"there is no online store '{name}'", hint=f"the home has one, named '{store.name}'")
        return store

    def create_online_store(
        self,
        *,
        name: str,
        capacity: str | None = None,
        read_replica_count: int | None = None,
        usage_policy_id: str | None = None,
    ) -> NoReturn:
        """Refused: the home has its store from the start.

        Raises:
            AlreadyExists: it has that name.
            InvalidInput: it has another.
        """
        del capacity, read_replica_count, usage_policy_id
        if name == self._store_name:
            raise AlreadyExists(f"online store '{name}' exists", hint="use it as it is: publish_table(...)")
        raise _one_store("another online store can't be made")

    def update_online_store(
        self,
        *,
        name: str,
        capacity: str | None = None,
        read_replica_count: int | None = None,
        usage_policy_id: str | None = None,
    ) -> OnlineStoreInfo:
        """The home's store as it is: it has no capacity and no replicas that could be set.

        Raises:
            NotFound: there is none of that name.
            InvalidInput: something is to be changed.
        """
        store = self.get_online_store(name=name)
        only_default(capacity=capacity, read_replica_count=read_replica_count, usage_policy_id=usage_policy_id)
        return store

    def delete_online_store(self, *, name: str) -> NoReturn:
        """Refused: a home always has its store.

        Raises:
            NotFound: there is none of that name.
            InvalidInput: always else.
        """
        self.get_online_store(name=name)
        raise InvalidInput(
            f"online store '{name}' is the home's and can't be deleted", hint="drop its tables: drop_online_table(name)"
        )

    @property
    def _store_name(self) -> str:
        return "redis" if self._workspace.settings.online_url else "embedded"

    def _check_store(self, store: str | OnlineStoreInfo | None) -> None:
        name = store.name if isinstance(store, OnlineStoreInfo) else store
        if name not in (None, self._store_name, "default"):
            raise _one_store(f"there is no online store '{name}'")


def _one_store(fact: str) -> InvalidInput:
    return InvalidInput(
        fact, hint="leave it out: a home has one store, in its folder, or on the Redis that MILLRACE_ONLINE_URL names"
    )
