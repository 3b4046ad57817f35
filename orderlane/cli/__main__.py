"""`python -m orderlane.cli`: the `orderlane` command where it is not installed."""

from orderlane.cli.app import main

main()
