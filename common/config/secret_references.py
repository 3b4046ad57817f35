"""Where a secret comes from: `{env: NAME}` or `{file: PATH}`, never the settings file itself.

No message repeats what stands in place of a reference, since that may be the secret, pasted into the wrong
place."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import redis.connection

from common.config.wording import SECRET
from common.secrets import DatabaseUrl, Secret, SecretUrl, passwords_in, register
from orderlane import cluster, sentinel

MAX_SECRET_BYTES: Final = 65_536
MIN_SECRET_LENGTH: Final = 8
"""No venue gives out a shorter key or secret; a shorter one is a mistake, and could not be kept out of the
logs."""

_CONVENTIONAL_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}\Z")
_DATABASE_URL = re.compile(r"(sqlite:///[^\s?#]+|postgres(ql)?://[^\s/?#]*/[^\s/?#]+(\?[^\s#]*)?)\Z")
_REDIS_URLS: Final = (
    f"redis://host:6379/0, rediss://host:6379/0, unix:///path, {sentinel.FORM} or {cluster.FORM}"
)


class SecretSource:
    """Reads secret references: `environ` for `env`, files relative to `folder` for `file`."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.environ = environ
        self.folder = folder

    def __call__(self, kind: type[Secret], raw: object) -> Secret:
        """The secret that `raw` (a value from the settings) refers to.

        Raises:
            ValueError: there is none; the message shows neither the value nor what stands in its place.
        """
        if isinstance(raw, Secret):
            return raw
        if issubclass(kind, SecretUrl):
            read = database_url if kind is DatabaseUrl else redis_url
            return read(raw if isinstance(raw, str) else self.referred(raw), literal=isinstance(raw, str))
        text = self.referred(raw)
        if len(text) < MIN_SECRET_LENGTH:
            raise ValueError(
                f"the secret it refers to is too short: expected {MIN_SECRET_LENGTH} characters or more"
            )
        return Secret(text)

    def referred(self, raw: object) -> str:
        """The text a reference points to, without the white space around it."""
        if isinstance(raw, str):
            register(raw)
            raise ValueError(
                f"a secret does not stand in this file, where it would be copied and committed: write {SECRET}, and "
                "take the one written here for known to others"
            )
        match raw:
            case {"env": str(name), **rest} if not rest:
                return self._from_environment(name)
            case {"file": str(path), **rest} if not rest:
                return self._from_file(path)
        raise ValueError(f"expected {SECRET}, exactly one of the two")

    def _from_environment(self, name: str) -> str:
        text = self.environ.get(name, "").strip()
        if not text:
            shown = (
                f" {name}"
                if _CONVENTIONAL_NAME.match(name)
                else ", whose name is not shown as it is unusual,"
            )
            state = "empty" if name in self.environ else "not set"
            raise ValueError(f"the environment variable{shown} is {state}: set it, or use {{file: PATH}}")
        return text

    def _from_file(self, written: str) -> str:
        path = self.folder / Path(written).expanduser()
        shown = f" {path}" if os.sep in written and path.parent.is_dir() else ", whose path is not shown,"
        try:
            with path.open("rb") as file:
                content = file.read(MAX_SECRET_BYTES + 1)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not a path"
            raise ValueError(f"the file{shown} can't be read: {why.lower()}") from None
        if len(content) > MAX_SECRET_BYTES:
            raise ValueError(f"the file{shown} has over {MAX_SECRET_BYTES} bytes: expected one secret in it")
        try:
            text = content.decode().strip()
        except UnicodeDecodeError:
            raise ValueError(f"the file{shown} is not text (UTF-8)") from None
        if not text:
            raise ValueError(f"the file{shown} is empty: expected one secret in it")
        return text


def redis_url(text: str, *, literal: bool = False) -> SecretUrl:
    """A checked Redis URL; one written literally in the settings may not carry a password.

    Raises:
        ValueError: not a URL that redis-py understands; the message does not repeat it.
    """
    url = SecretUrl(text)
    if literal and passwords_in(text):
        raise ValueError(
            f"a password does not stand in this file: set REDIS_URL, or write {SECRET} with the whole URL"
        )
    if not _is_understood(text):
        raise ValueError(
            f"not a Redis URL: expected {_REDIS_URLS}; in a password, / ? # @ : % are written percent-encoded"
        )
    return url


def database_url(text: str, *, literal: bool = False) -> DatabaseUrl:
    """A checked URL of the archive's database; one written literally in the settings may not carry a password.

    Raises:
        ValueError: not a URL of SQLite or PostgreSQL; the message does not repeat it.
    """
    url = DatabaseUrl(text)
    if literal and passwords_in(text):
        raise ValueError(
            f"a password does not stand in this file: set ORDERLANE_ARCHIVE_URL, or write {SECRET} with the whole URL"
        )
    if not _DATABASE_URL.match(text):
        raise ValueError(
            "not a URL of a database: expected sqlite:///PATH or postgresql://user@host:5432/database; "
            "in a password, / ? # @ : % are written percent-encoded"
        )
    return url


def _is_understood(text: str) -> bool:
    try:
        if sentinel.names_sentinels(text):
            sentinel.parse(text)
            return True
        if cluster.is_cluster(text):
            cluster.read_cluster_url(text)
            return True
        redis.connection.parse_url(text)  # type: ignore[no-untyped-call]
        parts = urlsplit(text)
    except ValueError:
        return False
    # redis-py ignores a database it can't read, so `redis://user:1/2@host` would go to a host named `user`.
    return parts.scheme == "unix" or (bool(re.fullmatch(r"/?\d*", parts.path)) and not parts.fragment)
