"""Errors on the wire: the shape that Databricks' and MLflow's clients read."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from millrace.core.errors import MillraceError

_STATUS = {
    "INVALID_PARAMETER_VALUE": HTTPStatus.BAD_REQUEST,
    "INVALID_STATE": HTTPStatus.BAD_REQUEST,
    "UNAUTHENTICATED": HTTPStatus.UNAUTHORIZED,
    "PERMISSION_DENIED": HTTPStatus.FORBIDDEN,
    "RESOURCE_DOES_NOT_EXIST": HTTPStatus.NOT_FOUND,
    "RESOURCE_ALREADY_EXISTS": HTTPStatus.CONFLICT,
    "ABORTED": HTTPStatus.CONFLICT,
    "NOT_IMPLEMENTED": HTTPStatus.NOT_IMPLEMENTED,
    "TEMPORARILY_UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
}


def status_of(error_code: str) -> int:
    """The HTTP status of an error code; 500 for one that is not ours to answer for."""
    return int(_STATUS.get(error_code, HTTPStatus.INTERNAL_SERVER_ERROR))


def error_body(error_code: str, message: str, hint: str = "") -> dict[str, object]:
    """The JSON object of an error.

    `message` is one text for a person, hint included, because clients show nothing else; message and hint apart are in
    `details`, in Google's ErrorInfo shape, for programs.
    """
    info: Mapping[str, object] = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": error_code,
        "domain": "millrace",
        "metadata": {"message": message, "hint": hint},
    }
    return {"error_code": error_code, "message": f"{message} ({hint})" if hint else message, "details": [info]}


def body_of(error: MillraceError) -> dict[str, object]:
    """The JSON object of one of our errors."""
    return error_body(error.error_code, error.message, error.hint)
