"""`python -m clew.cli`: the same command, for a process that knows its interpreter and not its PATH."""

from clew.cli import main

main()
