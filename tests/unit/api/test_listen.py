from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from millrace.api import listen
from millrace.api.listen import Tls, bind, is_wildcard, local_url, own_names, tls_of, warn_where_exposed
from millrace.core.errors import Conflict, InvalidInput, UsageError


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-subj", "/CN=localhost", "-days", "1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, *files], check=True, capture_output=True)
    return Tls(certificate, key)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1")])
def test_the_url_of_a_socket(host: str, shown: str, tls: Tls) -> None:
    with bind(host, 0) as listener:
        port = listener.getsockname()[1]
        assert local_url(listener, None) == f"http://{shown}:{port}"
        assert local_url(listener, tls) == f"https://{shown}:{port}"


class AllAddresses:
    """A socket that listens at all addresses, without one being opened to the network."""

    def __init__(self, address: str) -> None:
        self.address = address

    def getsockname(self) -> tuple[str, int]:
        return self.address, 5010


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:5010"),  # noqa: S104 - nothing is bound
        ("::", "http://[::1]:5010"),
        ("::1", "http://[::1]:5010"),
        ("192.0.2.7", "http://192.0.2.7:5010"),
    ],
)
def test_who_is_on_this_machine_is_told_an_address_that_it_can_ask(address: str, url: str) -> None:
    assert local_url(AllAddresses(address), None) == url  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("0.0.0.0", set()),  # noqa: S104 - nothing is bound
        ("::", set()),
        ("192.0.2.7", {"192.0.2.7"}),
        ("::1", {"[::1]"}),
        ("localhost", {"localhost", "127.0.0.1"}),
    ],
)
def test_what_is_listened_at_may_be_asked_for(host: str, names: set[str]) -> None:
    assert set(own_names(host)) - {"[::1]"} == names - {"[::1]"}
    assert is_wildcard(host) == (not names)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::"])  # noqa: S104 - nothing is bound
def test_beyond_this_machine_without_tls_is_warned_of(host: str, tls: Tls, capsys: pytest.CaptureFixture[str]) -> None:
    warn_where_exposed(host, tls)
    assert capsys.readouterr().err == ""
    warn_where_exposed(host, None)
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {host} ")
    assert "--tls-cert FILE --tls-key FILE" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_on_this_machine_there_is_nothing_to_warn_of(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    warn_where_exposed(host, None)
    assert capsys.readouterr().err == ""


def test_what_can_not_be_listened_at_is_told_with_the_fix() -> None:
    with pytest.raises(InvalidInput, match="no address"):
        bind("no such host", 0)
    with pytest.raises(Conflict, match="can't be used") as caught:
        bind("192.0.2.7", 0)  # an address for documentation: nobody's
    assert "--host" in caught.value.hint


class Leaving:
    """Time as `bind` sees it: it only passes while that waits. What holds the port leaves it after a second."""

    def __init__(self, leaving: socket.socket) -> None:
        self._leaving, self._now_s = leaving, 0.0

    def monotonic(self) -> float:
        return self._now_s

    def sleep(self, wait_s: float) -> None:
        self._now_s += wait_s
        if self._now_s >= 1:
            self._leaving.close()


def test_a_port_that_is_just_becoming_free_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    leaving = bind("127.0.0.1", 0)
    port = leaving.getsockname()[1]
    monkeypatch.setattr(listen, "time", Leaving(leaving))
    with bind("127.0.0.1", port) as listener:
        assert listener.getsockname()[1] == port


def test_the_certificate_is_the_first_in_its_file(tls: Tls, tmp_path: Path) -> None:
    own = tls.certificate.read_text()
    chained = tmp_path / "chain.pem"
    chained.write_text("subject=/CN=localhost\n" + own + own)
    assert Tls(chained, tls.key).check() == own


def test_files_that_can_not_be_used_are_told(tls: Tls, tmp_path: Path) -> None:
    broken, locked = tmp_path / "broken.pem", tmp_path / "locked.pem"
    broken.write_text("no key")
    subprocess.run(
        ["openssl", "ec", "-in", str(tls.key), "-aes128", "-passout", "pass:word", "-out", str(locked)],
        check=True,
        capture_output=True,
    )
    for certificate, key in [(tls.certificate, broken), (broken, tls.key), (tmp_path / "none", tls.key)]:
        with pytest.raises(InvalidInput, match="TLS can't be had") as caught:
            Tls(certificate, key).check()
        assert "PEM" in caught.value.hint
    with pytest.raises(InvalidInput, match="TLS can't be had"):
        Tls(tls.certificate, locked).check()


def test_a_certificate_and_its_key_come_together(tls: Tls) -> None:
    assert tls_of(None, None) is None
    assert tls_of(tls.certificate, tls.key) == tls
    for one in ((tls.certificate, None), (None, tls.key)):
        with pytest.raises(UsageError, match="certificate and its key"):
            tls_of(*one)
