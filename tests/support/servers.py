"""Real servers for the tests: own processes on free ports, with their data in a temporary directory, gone with the session."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from support.pages import ROOT

TRIES = 1000


def program(name: str) -> str:
    """The path of a server's program, which a fresh machine installs here."""
    if _found(name) is None:
        done = subprocess.run(["sh", ROOT / "tools" / "servers.sh"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    found = _found(name)
    assert found, f"{name} was installed and cannot be found"
    return found


def _found(name: str) -> str | None:
    """On the PATH, or where Debian keeps what is no command for everybody."""
    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, postgres), "/usr/sbin"]))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """A redis-server that keeps nothing on disk, where `options` do not say so."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def client(self) -> Redis:
        """A client that fails at once where the server is away; to be closed."""
        return Redis(host="127.0.0.1", port=self.port, retry=Retry(NoBackoff(), 0), socket_timeout=10)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when the server answers."""
        options = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(self.folder),
            *self.options,
        ]
        log = self.folder / "redis.log"
        with log.open("ab") as out:
            self.process = subprocess.Popen([program("redis-server"), *options], stdout=out, stderr=out)
        with self.client() as client:
            for _ in range(TRIES):
                assert self.process.poll() is None, log.read_text()
                try:
                    found = client.execute_command("INFO", "server")["process_id"]  # pyright: ignore
                    assert found == self.process.pid, "another server has taken the port"
                except RedisError:
                    time.sleep(0.01)
                else:
                    return
        raise AssertionError(f"redis-server does not answer: {log.read_text()}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()  # it keeps nothing
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    """One for the whole session; each worker has its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Generator[Redis]:
    """A client of an empty server."""
    with redis_server.client() as client:
        client.execute_command("FLUSHALL")  # pyright: ignore
        yield client


@pytest.fixture
def redis_url(redis_server: RedisServer, redis_client: Redis) -> str:
    """The URL of an empty server."""
    return redis_server.url
