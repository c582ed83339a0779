"""`clew` on the command line: a caller of the library like any other. This file only finds out whether it can run."""

import sys


def main() -> None:
    """The entry point of the `clew` command."""
    try:
        from clew.cli import keeping, moving  # noqa: F401  # pyright: ignore[reportUnusedImport]  (its commands)
        from clew.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "typer"):
            raise
        sys.exit(f'The clew command needs {error.name}, which is not installed: type `pip install "clew[cli,langchain]"`.')
    app()
