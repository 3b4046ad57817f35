"""Reading the settings at the start of a process, with a wrong one told as a command line tells it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from common.config import ConfigInvalid, Settings, load_settings


def configured(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of the pool.

    Raises:
        click.ClickException: they can't be read or are wrong; its message lists all that is.
    """
    try:
        return load_settings(path, environ)
    except ConfigInvalid as error:
        raise click.ClickException(str(error)) from None
