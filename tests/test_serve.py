"""The dashboard's server as a process: whose files it runs, the address it says, how it ends."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from streamlit import config

from dashboard.__main__ import address
from summit_dask.serve import dashboard_folder

ROOT = Path(__file__).parents[1]

#: Modules that a user's folder may hold by the names of ours and of what we need.
OTHERS = ("dashboard", "script", "app", "data", "session", "streamlit", "pandas")

COMMAND = (sys.executable, "-P", "-c", "from summit_dask.cli import main; main()", "dashboard")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def _server(
    store: Path,
    folder: Path,
    path: str = "",
    environment: Mapping[str, str | None] = {},
    command: Sequence[str] = COMMAND,
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A dashboard that was started in a folder, once it answers at a path, and its address; None unsets a variable."""
    port = _free_port()
    base = f"http://127.0.0.1:{port}"
    given = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with subprocess.Popen(
        [*command, str(store), "--port", str(port)],
        cwd=folder,
        env={name: value for name, value in given.items() if value is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        end = time.monotonic() + 60
        while not _answers(f"{base}{path}/_stcore/health") and server.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        try:
            yield server, base
        finally:
            server.kill()


def _folder_of_others(folder: Path) -> Path:
    for name in OTHERS:
        (folder / f"{name}.py").write_text(f"raise SystemExit('the {name} of the current folder was run')\n")
    return folder


def test_a_server_is_ours_says_its_address_and_ends_with_its_process(complete: Path, tmp_path: Path) -> None:
    folder = _folder_of_others(tmp_path)
    (folder / ".streamlit").mkdir()
    (folder / ".streamlit" / "config.toml").write_text('[server]\nbaseUrlPath = "proxy/8501"\n')
    with _server(complete, folder, "/proxy/8501") as (server, base):
        assert _answers(f"{base}/proxy/8501/_stcore/health")
        server.send_signal(signal.SIGTERM)
        said, _ = server.communicate(timeout=20)
        assert server.returncode == 0
        assert not _answers(f"{base}/proxy/8501/_stcore/health")
    assert said.startswith(f"The dashboard of {complete} is at {base}/proxy/8501 (Ctrl-C ends it).\n")
    assert "Traceback" not in said and "current folder" not in said


def test_a_server_needs_no_home_and_takes_settings_from_the_environment(complete: Path, tmp_path: Path) -> None:
    nowhere = {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": None, "STREAMLIT_SERVER_BASE_URL_PATH": "here"}
    with _server(complete, tmp_path, "/here", nowhere) as (server, base):
        assert _answers(f"{base}/here/_stcore/health")
        server.send_signal(signal.SIGINT)
        said, _ = server.communicate(timeout=20)
    assert f"{base}/here (" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", "http://localhost:8501"),
        ("::1", "http://[::1]:8501"),
        ("::", "http://[::1]:8501"),
        ("0.0.0.0", "http://127.0.0.1:8501"),
    ],
)
def test_addresses_can_be_opened(host: str, expected: str) -> None:
    assert address(host, "8501") == expected


def test_an_address_follows_streamlit_s_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"server.baseUrlPath": "/a/b/", "server.sslCertFile": "cert.pem"}
    monkeypatch.setattr(config, "get_option", settings.get)
    assert address("localhost", "443") == "https://localhost:443/a/b"


def test_ours_is_loaded_where_another_dashboard_comes_first(tmp_path: Path) -> None:
    _folder_of_others(tmp_path)
    code = "from summit_dask.serve import load_dashboard as l; l(); import dashboard.app as app, dashboard; l()"
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-P", "-c", f"{code}; print(app.__file__, dashboard.app is app)"]
    # Its Streamlit and pandas would come first too.
    for name in ("streamlit", "pandas"):
        (tmp_path / f"{name}.py").unlink()
    said = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True
    ).stdout
    assert said.split() == [str(dashboard_folder() / "app.py"), "True"]


@pytest.mark.long
def test_the_wheel_brings_nothing_called_dashboard_and_runs_its_own(complete: Path, tmp_path: Path) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    if not uv:
        pytest.skip("no uv found to build the wheel with")
    python = tmp_path / "venv" / "bin" / "python"

    def run(*command: object) -> str:
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    run(uv, "build", "--wheel", "--out-dir", tmp_path, ROOT)
    run(uv, "venv", "--python", sys.executable, tmp_path / "venv")
    run(uv, "pip", "install", "--no-deps", "--python", python, next(tmp_path.glob("*.whl")))
    installed = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    assert sorted(path.name for path in installed.glob("[!_]*") if path.suffix != ".dist-info") == ["summit_dask"]
    # What it needs, from this environment; a .pth in there, as that of an editable install, counts for nothing.
    (installed / "needs.pth").write_text(sysconfig.get_path("purelib"))
    folder = _folder_of_others(tmp_path)
    command = [str(python.with_name("summit-dask")), "dashboard"]
    with _server(complete, folder, environment={"PYTHONPATH": None}, command=command) as (server, base):
        running = Path(f"/proc/{server.pid}/cmdline")
        if running.exists():
            assert str(installed / "summit_dask" / "dashboard" / "__main__.py") in running.read_text()
        assert _answers(f"{base}/_stcore/health")
    script = installed / "summit_dask" / "dashboard" / "script.py"
    code = (
        f"from streamlit.testing.v1 import AppTest; app = AppTest.from_file({str(script)!r}, default_timeout=60).run()"
    )
    shown = run(
        python, "-P", "-c", f"{code}; print([e.proto.id for e in app.main if hasattr(e.proto, 'id')])", complete
    )
    assert "-graph'" in shown and "-error'" not in shown
