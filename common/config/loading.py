"""From `orderlane.yaml` and the environment to `Settings`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from common.config.checks import CHECKS
from common.config.decoding import Decoder
from common.config.document import Section, read_document
from common.config.problems import ConfigInvalid, Problem
from common.config.secret_references import SecretSource, database_url, redis_url
from common.config.settings import Settings
from common.secrets import Secret

CONFIG_VARIABLE: Final = "ORDERLANE_CONFIG"

TEXT_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "SENTRY_ENVIRONMENT": ("sentry", "environment"),
    "ORDERLANE_PAPER_URL": ("paper_url",),
    "ORDERLANE_DATA_FOLDER": ("data_folder",),
    "ORDERLANE_LOG_LEVEL": ("log", "level"),
    "ORDERLANE_LOG_FORMAT": ("log", "format"),
}
SECRET_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "REDIS_URL": ("redis_url",),
    "RQ_REDIS_URL": ("rq_redis_url",),
    "SENTRY_DSN": ("sentry", "dsn"),
    "ORDERLANE_ARCHIVE_URL": ("archive", "url"),
}
"""Environment variables that go before the file. One that is empty counts as not set."""

_READERS: Final[Mapping[str, Callable[[str], Secret]]] = {
    "SENTRY_DSN": Secret,
    "ORDERLANE_ARCHIVE_URL": database_url,
}

BUILT_IN: Final = """\
exchanges:
  binance:
    venue: binanceusdm
    accounts: {main: {}, alt: {}}
  binance-spot:
    venue: binance
    accounts: {main: {}, alt: {}}
"""
"""What holds without a file: two exchanges and two accounts, all on paper."""


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of a pool: from `path`, else the file that `ORDERLANE_CONFIG` names, else the built-in
    paper pool.

    Reads that file and those its secrets refer to, and nothing else; `environ` is usually `os.environ`.

    Raises:
        ConfigInvalid: the file can't be read or something in it is wrong; lists all that was found.
    """
    named = environ.get(CONFIG_VARIABLE, "")
    path = path or (Path(named) if named else None)
    if path is None:
        return settings_from(BUILT_IN, "built-in settings", Path(), environ)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        why = (error.strerror or "unreadable").lower()
        raise ConfigInvalid([Problem(str(path), 0, (), f"can't be read: {why}")]) from None
    except UnicodeDecodeError:
        raise ConfigInvalid([Problem(str(path), 0, (), "is not text (UTF-8)")]) from None
    return settings_from(text, str(path), path.parent, environ)


def settings_from(text: str, source: str, folder: Path, environ: Mapping[str, str]) -> Settings:
    """The settings that a YAML text and an environment describe; `folder` is where relative secret files are.

    Raises:
        ConfigInvalid: as `load_settings`.
    """
    section, problems = read_document(text, source)
    if section is None:
        raise ConfigInvalid(problems)
    if "exchanges" not in section:
        missing = "missing: expected one or more exchanges (for the built-in paper pool, run without a file)"
        problems.append(Problem(source, 0, ("exchanges",), missing))
        section["exchanges"] = Section(1)
    secrets = SecretSource(environ, folder)
    problems += _take_environment(section, environ)
    _complete_paper_accounts(section)
    decoder = Decoder(source, secrets, CHECKS)
    settings = decoder.decode(Settings, section)
    problems += [_at_its_variable(problem, environ) for problem in decoder.problems]
    if problems or settings is None:
        raise ConfigInvalid(_without_repeats(problems))
    return settings


def _take_environment(section: Section, environ: Mapping[str, str]) -> list[Problem]:
    """Put what the environment says in the place of what the file says."""
    problems = []
    for name, path in TEXT_VARIABLES.items():
        if text := environ.get(name, "").strip():
            _put(section, path, text)
    for name, path in SECRET_VARIABLES.items():
        if text := environ.get(name, "").strip():
            try:
                _put(section, path, _READERS.get(name, redis_url)(text))
            except ValueError as error:
                problems.append(Problem("environment", 0, (name,), str(error)))
    return problems


def _at_its_variable(problem: Problem, environ: Mapping[str, str]) -> Problem:
    """A problem of a value that the environment gave, named after the variable instead of the file."""
    for name, path in {**TEXT_VARIABLES, **SECRET_VARIABLES}.items():
        if path == problem.path and environ.get(name, "").strip():
            return Problem("environment", 0, (name,), problem.message)
    return problem


def _put(section: Section, path: tuple[str, ...], value: object) -> None:
    for part in path[:-1]:
        inner = section.get(part)
        if inner is None:
            inner = section[part] = Section(section.line)
        if not isinstance(inner, Section):
            return  # the decoder reports it
        section = inner
    section[path[-1]] = value


def _complete_paper_accounts(section: Section) -> None:
    """Give accounts on the paper exchange their well-known keys, and take literal ones there: they protect
    nothing."""
    exchanges = section.get("exchanges")
    for exchange in exchanges.values() if isinstance(exchanges, Section) else ():
        if isinstance(exchange, Section) and exchange.get("endpoint", "paper") == "paper":
            accounts = exchange.get("accounts")
            if isinstance(accounts, Section):
                exchange["accounts"] = completed = accounts.copied()
                for name, account in accounts.items():
                    if account is None or isinstance(account, Section):
                        completed[name] = _paper_account(name, account)


def _paper_account(name: str, given: Section | None) -> Section:
    account = Section(0) if given is None else given.copied()
    for field in ("key", "secret"):
        text = account.get(field)
        if text is None:
            account[field] = Secret(f"paper-{name}-{field}")
        elif isinstance(text, str):
            account[field] = Secret(text)
    return account


def _without_repeats(problems: list[Problem]) -> list[Problem]:
    """One problem for each place, in the order of the file; a place that is missing has one already."""
    first = {(problem.source, problem.path): problem for problem in reversed(problems)}
    kept = list(first.values())[::-1]
    return sorted(kept, key=lambda problem: (problem.source, problem.line))
