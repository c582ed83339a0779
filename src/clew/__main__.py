"""`python -m clew`: the command, for a process that knows its interpreter and not its PATH."""

from clew.cli import main

main()
