"""`python -m common.config`: check a settings file, and print what holds, without its secrets."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from common.config.loading import load_settings
from common.config.problems import ConfigInvalid
from common.config.reference import reference
from common.config.rendering import as_yaml


@click.command()
@click.option("--check", "path", type=click.Path(path_type=Path), help="The settings file to check.")
@click.option(
    "--reference", "describe", is_flag=True, help="Print the tables of docs/configuration.md instead."
)
def main(path: Path | None, describe: bool) -> None:
    """Print the settings that hold, as YAML, with every secret hidden.

    Without --check: those of ORDERLANE_CONFIG, or the built-in ones. Environment variables are taken into
    account. Exit code 1 if something is wrong; then all that is wrong is printed instead."""
    if describe:
        click.echo(reference(), nl=False)
        return
    try:
        settings = load_settings(path, os.environ)
    except ConfigInvalid as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    click.echo(as_yaml(settings), nl=False)


if __name__ == "__main__":
    main()
