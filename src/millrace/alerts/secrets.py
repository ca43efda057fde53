"""A secret for a webhook that has none."""

from __future__ import annotations

import base64
import secrets
from urllib.parse import quote, urlsplit, urlunsplit

_BYTES = 32


def signed_url(url: str) -> tuple[str, str]:
    """The URL of a channel with a secret, and that secret where it is new; any other channel, or one that has one, stays as it is."""
    if not url.startswith("webhook+"):
        return url, ""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        return url, ""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(_BYTES)).decode()
    return urlunsplit(parts._replace(netloc=f"{quote(secret, safe='')}@{parts.netloc}")), secret
