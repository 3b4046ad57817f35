"""The `orderlane` command: an operator's remote control of a pool, through Redis alone."""

from orderlane.cli.app import main

__all__ = ["main"]
