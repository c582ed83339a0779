"""`clew` on the command line: a caller of the library like any other. This file only finds out whether it can run."""

import sys


def main() -> None:
    """The entry point of the `clew` command."""
    try:
        import rich  # noqa: F401  (only to see that it is there)
        import typer  # noqa: F401
    except ImportError as error:
        sys.exit(f'The clew command needs {error.name}, which is not installed: type `pip install "clew[cli,langchain]"`.')
    from clew.cli.app import app

    app()
