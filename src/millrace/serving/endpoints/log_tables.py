"""Whose the tables are that an endpoint's traffic would be logged in: who may manage one endpoint writes into no other one's."""

from __future__ import annotations

from collections.abc import Iterator

from millrace.core.errors import AlreadyExists
from millrace.lake.port import Catalog
from millrace.serving.capture.inference_log import ENDPOINT, ROLE
from millrace.serving.port import EndpointReader
from millrace.serving.types import Capture, Endpoint


def check_log_tables(catalog: Catalog, endpoints: EndpointReader, name: str, capture: Capture) -> None:
    """Refuse tables that are not the endpoint's own: there, or named by what another serves, will serve or may go back to.

    An endpoint that is made again has the tables that it had. The message does not say whose a table is: who asks may not
    see that endpoint.

    Raises:
        AlreadyExists: one of them is another's, or logs nothing.
    """
    others = [endpoint for endpoint in endpoints.list() if endpoint.name != name]
    named = {table for endpoint in others for each in _captures(endpoint) for table in each.all_tables()}
    for table in capture.all_tables():
        found = catalog.find(table)
        is_own = found is None or (found.definition.role == ROLE and found.definition.properties.get(ENDPOINT) == name)
        if table in named or not is_own:
            raise AlreadyExists(
                f"table {table} is not one that endpoint '{name}' logs to",
                hint="choose another table_name_prefix",
                table=str(table),
            )


def _captures(endpoint: Endpoint) -> Iterator[Capture]:
    configs = [endpoint.config, endpoint.pending, endpoint.previous.config if endpoint.previous else None]
    return (config.capture for config in configs if config is not None and config.capture is not None)
