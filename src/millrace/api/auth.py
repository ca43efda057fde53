"""Who may talk to the server: a token in the home, as a bearer or as a browser's cookie that is derived from it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from http.cookies import CookieError, SimpleCookie

from millrace.core.clock import Clock, SystemClock
from millrace.targets.local_server import home_token

__all__ = ["SESSION", "Credentials", "Headers", "first_header", "home_token"]

Headers = Iterable[tuple[bytes, bytes]]

SESSION = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Checks tokens and cookies, holding neither: only digests. Comparisons take the same time for any input.

    Attributes:
        digest: SHA-256 of the token.
        clock: the machine's clock: a browser's session ends in real time, also in a home with virtual time.
    """

    digest: bytes
    clock: Clock

    @classmethod
    def of(cls, token: str, clock: Clock | None = None) -> Credentials:
        """Credentials that accept this token."""
        return cls(hashlib.sha256(token.encode()).digest(), clock or SystemClock())

    @property
    def cookie_name(self) -> str:
        """Differs from home to home: browsers share cookies between the ports of a host."""
        return f"millrace_{hashlib.sha256(self.digest).hexdigest()[:8]}"

    def accepts_token(self, token: str) -> bool:
        """Whether it is the home's token."""
        return hmac.compare_digest(hashlib.sha256(token.encode()).digest(), self.digest)

    def cookie(self, headers: Headers) -> bool:
        """Whether the request carries a session cookie of ours that has not ended."""
        try:
            cookies = SimpleCookie(first_header(headers, b"cookie"))
        except CookieError:
            return False
        morsel = cookies.get(self.cookie_name)
        ends, _, signature = (morsel.value if morsel else "").partition(".")
        if not ends.isdecimal() or not hmac.compare_digest(signature.encode(), self._sign(ends).encode()):
            return False
        return int(ends) > self.clock.now().timestamp()

    def set_cookie(self, *, secure: bool = False) -> str:
        """A Set-Cookie header value that opens a session; `secure` keeps the cookie to TLS."""
        ends = str(int((self.clock.now() + SESSION).timestamp()))
        age_s = int(SESSION.total_seconds())
        value = f"{ends}.{self._sign(ends)}"
        cookie = f"{self.cookie_name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age_s}"
        return f"{cookie}; Secure" if secure else cookie

    def clear_cookie(self) -> str:
        """A Set-Cookie header value that ends the session."""
        return f"{self.cookie_name}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"

    def _sign(self, ends: str) -> str:
        return hmac.new(self.digest, b"session:" + ends.encode(), hashlib.sha256).hexdigest()


def first_header(headers: Headers, name: bytes) -> str:
    """The first value of a header (`name` in lower case), empty where it is missing."""
    return next((value.decode("latin-1") for key, value in headers if key == name), "")
