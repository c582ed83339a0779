"""A PostgreSQL of the bench's own: on a free port, as it comes (its commits reach the disk), gone with the run.

It refuses to run as root: then it runs as the user that the system's package has made for it.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SUPERUSER: Final = "postgres"
TRIES: Final = 1_000


@contextmanager
def server(databases: Sequence[str]) -> Generator[str]:
    """Starts one with these databases in it, and yields its URL, without a database.

    Raises:
        SystemExit: its programs are not installed, or it does not start.
    """
    folder, user = Path(tempfile.mkdtemp(prefix="bench-postgres-")), SUPERUSER if os.geteuid() == 0 else None
    try:
        if user:
            shutil.chown(folder, user)
        _run([program("initdb"), "-D", f"{folder}/data", *f"-U {SUPERUSER} -A trust -E UTF8 --no-locale".split()], user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program("postgres"), "-D", f"{folder}/data", *options], cwd="/", stdout=log, stderr=log, user=user, group=user
            )
        try:
            url = f"postgresql://{SUPERUSER}@127.0.0.1:{port}"
            _answers(process, url, folder / "log")
            for database in databases:
                make(url, database)
            yield url
        finally:
            process.send_signal(signal.SIGINT)  # it says good-bye to its clients
            process.wait()
    finally:
        shutil.rmtree(folder)


def make(url: str, database: str) -> None:
    """A new, empty database."""
    import psycopg

    with psycopg.connect(f"{url}/{SUPERUSER}", autocommit=True) as db:
        db.execute(f"create database {database}")


def size(url: str, database: str) -> int:
    """Bytes of its tables and indexes."""
    import psycopg

    with psycopg.connect(f"{url}/{database}", autocommit=True) as db:
        sql = "select sum(pg_total_relation_size(c.oid)) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        found = db.execute(f"{sql} where n.nspname = 'public' and c.relkind = 'r'").fetchone()
    return int(found[0])


def version() -> str:
    """Of the server that is started."""
    said = subprocess.run([program("postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[2]


def program(name: str) -> str:
    """Where it is: on the PATH, or where Debian keeps it."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda home: int(home.parent.name), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, homes)]))
    if not found:
        sys.exit(f"The bench needs PostgreSQL's {name!r}: on Debian or Ubuntu, apt-get install postgresql.")
    return found


def _answers(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    import psycopg

    for _ in range(TRIES):
        if process.poll() is not None:
            break
        try:
            psycopg.connect(f"{url}/{SUPERUSER}").close()
        except psycopg.OperationalError:
            time.sleep(0.01)
        else:
            return
    sys.exit(f"postgres does not start: {log.read_text()}")


def _run(command: list[str], user: str | None) -> None:
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, user=user, group=user, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}")
