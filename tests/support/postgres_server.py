"""A PostgreSQL of the tests' own, on a free port, with its data in a temporary directory; gone with the session."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from clew.checkpoint.postgres import TABLES, PostgresSaver
from support.servers import TRIES, free_port, program

SUPERUSER = "postgres"


class PostgresServer:
    """A PostgreSQL server; `folder` is made by `start` and taken away by `remove`.

    It refuses to run as root: then it runs as the user that the system's package has made for it, and otherwise as ourselves.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        """`fsync`: what is committed survives a power cut too, and costs what that costs."""
        self.port = free_port()
        self.fsync = fsync
        self.folder: Path | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._names = (f"clew_{n}" for n in itertools.count())

    def start(self) -> None:
        """Returns when the server answers. Begins with an empty server, and goes on with what it had after `stop`."""
        folder = self.folder = self.folder or self._made()
        options = ["-p", str(self.port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300"]
        if not self.fsync:
            options += ["-c", "fsync=off", "-c", "full_page_writes=off"]
        with self._log.open("ab") as out:
            command = [program("postgres"), "-D", str(folder / "data"), *options]
            self.process = subprocess.Popen(command, cwd="/", stdout=out, stderr=out, user=_user(), group=_user())
        for _ in range(TRIES):
            assert self.process.poll() is None, self._log.read_text()
            try:
                with self.connect() as db:
                    row = db.execute("show data_directory").fetchone()
            except psycopg.OperationalError:
                time.sleep(0.01)
            else:
                assert row == (str(folder / "data"),), "another server has taken the port"
                return
        raise AssertionError(f"postgres does not answer: {self._log.read_text()}")

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stops the server at once, as a crash does; `signal.SIGINT` has it say good-bye to its clients first."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        self.stop()
        if self.folder is not None:
            shutil.rmtree(self.folder)
            self.folder = None

    # -- for tests --------------------------------------------------------------------------------------------------

    def url(self, database: str = SUPERUSER, user: str = SUPERUSER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = SUPERUSER) -> psycopg.Connection:
        """A connection in autocommit, past whatever is tested; to be closed."""
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=10)

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = next(self._names)
        with self.connect() as db:
            db.execute(_sql(f"create database {name}"))
        return self.url(name)

    def end_backends(self) -> int:
        """Ends every connection but its own, whatever it is doing; returns how many there were."""
        with self.connect() as db:
            mine = "pid <> pg_backend_pid() and backend_type = 'client backend'"
            return db.execute(_sql(f"select pg_terminate_backend(pid) from pg_stat_activity where {mine}")).rowcount

    @property
    def _log(self) -> Path:
        assert self.folder is not None
        return self.folder / "log"

    def _made(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="clew-postgres-"))
        if user := _user():
            shutil.chown(folder, user)
        command = [program("initdb"), "-D", str(folder / "data"), *f"-U {SUPERUSER} -A trust -N -E UTF8 --no-locale".split()]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, user=user, group=user)
        assert done.returncode == 0, done.stderr
        return folder


def _user() -> str | None:
    """Whom the server runs as, where that is not ourselves."""
    return SUPERUSER if os.geteuid() == 0 else None


def _sql(text: str) -> LiteralString:
    """A statement put together here, of nothing from outside."""
    return text  # pyright: ignore[reportReturnType]


@contextmanager
def pgbouncer(server: PostgresServer, folder: Path) -> Generator[str]:
    """A PgBouncer in transaction mode with one connection to the server; yields where it is."""
    port = free_port()
    assert server.folder is not None
    ini = server.folder / f"pgbouncer-{port}.ini"
    ini.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port} user={SUPERUSER}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 1\nmax_client_conn = 100\n"
    )
    ini.chmod(0o644)
    user = SUPERUSER if server.folder.owner() == SUPERUSER else None
    with (folder / "log").open("wb") as out:
        process = subprocess.Popen([program("pgbouncer"), str(ini)], cwd="/", user=user, stdout=out, stderr=out)
    try:
        for _ in range(1000):
            assert process.poll() is None, (folder / "log").read_text()
            with suppress(psycopg.OperationalError), psycopg.connect(f"postgresql://x@127.0.0.1:{port}/postgres"):
                break
        yield f"postgresql://{SUPERUSER}@127.0.0.1:{port}/"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def postgres_server() -> Generator[PostgresServer]:
    """One for the whole session; each worker has its own."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_tables(postgres_server: PostgresServer) -> str:
    """The URL of a database that has the tables."""
    url = postgres_server.database()
    with PostgresSaver(url) as saver:
        saver.setup()
    return url


@pytest.fixture
def postgres_url(postgres_tables: str) -> str:
    """The URL of a database whose tables are empty."""
    with psycopg.connect(postgres_tables, autocommit=True) as db:
        for table in TABLES:  # not `truncate`: that makes new files, and takes ten times as long for a few rows
            db.execute(_sql(f"delete from clew_{table}"))
    return postgres_tables
