"""JupyterLab over a home, with a kernel that knows it: nothing is written into the user's own Jupyter folders."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from millrace.core.errors import InvalidState, NotFound
from millrace.core.settings import Settings
from millrace.notebooks.kernel_process import COMMAND, notebook_environment, with_our_modules
from millrace.notebooks.read import write_whole

_PORT = 8888
_START_S, _STOP_S = 120, 20
_LOOK_S = 0.1
# `python3` too: that is what notebooks written elsewhere ask for.
_KERNELS = ("millrace", "python3")


@dataclass(frozen=True, slots=True)
class LabInfo:
    """A JupyterLab that answers. The token is in a file that only its owner can read, and in the URL for the browser."""

    url: str
    url_with_token: str
    token_file: Path
    pid: int


def serve_lab(
    settings: Settings, path: Path, *, port: int | None, browser: bool, announce: Callable[[LabInfo], None]
) -> int:
    """Run JupyterLab until it ends or Ctrl-C; its exit code.

    Raises:
        InvalidState: it is not installed, or did not start.
        NotFound: there is no such folder or notebook.
    """
    if find_spec("jupyterlab") is None:
        raise InvalidState("JupyterLab is not installed", hint="pip install 'millrace[notebook]'")
    if not path.exists():
        raise NotFound(f"there is no {path}", hint="give a folder, or a notebook", path=str(path))
    root = path.absolute() if path.is_dir() else path.absolute().parent
    folder = settings.home / "jupyter"
    write_kernels(settings, folder)
    token_file, token = folder / "token", secrets.token_urlsafe(32)
    _write_secret(token_file, token)
    options = _options(root, port, browser=browser, page="" if path.is_dir() else path.name)
    log = settings.home / "logs" / "jupyterlab.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()  # the child ends when nobody holds the writing end any more
    try:
        with log.open("wb") as file:
            child = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-m", "millrace.notebooks.lab_child", str(reading), *options],
                env=_environment(settings, folder, token),
                stdout=file,
                stderr=file,
                pass_fds=(reading,),
                start_new_session=True,  # Ctrl-C is ours to pass on, once
            )
        os.close(reading)
        return _serve(child, lambda: _wait(child, folder, token_file, token, log), announce)
    finally:
        os.close(writing)
        token_file.unlink(missing_ok=True)


def _serve(child: subprocess.Popen[bytes], wait: Callable[[], LabInfo], announce: Callable[[LabInfo], None]) -> int:
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    try:
        announce(wait())
        return child.wait()
    except KeyboardInterrupt:
        return 0  # that is how it is ended
    finally:
        _end(child)


def write_kernels(settings: Settings, folder: Path) -> None:
    """Our kernel's description, in the home, for this interpreter."""
    described = {
        "argv": list(COMMAND),
        "display_name": "millrace",
        "language": "python",
        "env": with_our_modules(notebook_environment(settings)),
        "metadata": {"debugger": True},
    }
    for name in _KERNELS:
        write_whole(folder / "kernels" / name / "kernel.json", json.dumps(described, indent=1))


def _options(root: Path, port: int | None, *, browser: bool, page: str) -> list[str]:
    allowed = json.dumps(list(_KERNELS))
    options = [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={_PORT if port is None else port}",
        f"--ServerApp.port_retries={50 if port is None else 0}",
        f"--ServerApp.root_dir={root}",
        f"--ServerApp.open_browser={browser}",
        f"--KernelSpecManager.allowed_kernelspecs={allowed}",
        "--KernelSpecManager.ensure_native_kernel=False",
        "--MappingKernelManager.default_kernel_name=millrace",
        # Neither a search for language servers, which writes into the user's folders, nor for extensions, in the network.
        "--LanguageServerManager.autodetect=False",
        "--LabApp.extension_manager=readonly",
    ]
    if os.geteuid() == 0:
        options.append("--allow-root")
    return [*options, f"--LabApp.default_url=/lab/tree/{page}"] if page else options


def _environment(settings: Settings, folder: Path, token: str) -> dict[str, str]:
    return {
        **with_our_modules(os.environ),
        **notebook_environment(settings),
        "JUPYTER_TOKEN": token,
        "JUPYTER_PATH": str(folder),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "IPYTHONDIR": str(folder / "ipython"),
    }


def _wait(child: subprocess.Popen[bytes], folder: Path, token_file: Path, token: str, log: Path) -> LabInfo:
    """Until it has written where it is, which it does when it answers."""
    written = folder / "runtime" / f"jpserver-{child.pid}.json"
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if child.poll() is not None:
            break
        if written.exists() and written.stat().st_size:
            url = json.loads(written.read_text(encoding="utf-8"))["url"]
            return LabInfo(url, f"{url}lab?token={token}", token_file, child.pid)
        time.sleep(_LOOK_S)
    raise InvalidState("JupyterLab did not start", hint=f"see {log}; is the port in use? --port 0 takes any")


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _write_secret(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
