"""Values that must never be seen: a type that doesn't show them, and a filter that finds them in any text.

A `Secret` announces itself to the process's registry when it is made, so whatever is written afterwards
(`scrub`, used for every log line, every Sentry event and every configuration error) is free of it.
"""

from __future__ import annotations

import hmac
import json
import re
import threading
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit, urlunsplit

HIDDEN: Final = "***"
"""What stands where a secret stood. It needs no escape in JSON, URLs or Python, so a text stays readable."""

MIN_SCRUBBED_LENGTH: Final = 4
"""A shorter secret is not searched for: it would turn up inside ordinary words. URLs hide it all the same."""
MIN_ENCODED_LENGTH: Final = 8
"""From this length on a secret is recognised in base64 too, which shows a short one in only 3 or 4
letters."""
MIN_LINE_LENGTH: Final = 16
"""From this length on a single line of a secret of several lines (a PEM key) is a secret of its own."""

START_LENGTH: Final = 4
FEW: Final = 256
"""Up to so many forms of secrets are each looked for; of more (a thousand accounts have 8 000) only those whose first
letters are in the text."""

_URL_PASSWORD = re.compile(r"""(://[^\s/:@"']*:)[^\s/@"']+(?=@)""")
_PASSWORDS: Final = ("password", "sentinel_password")
_PASSWORD_OPTION = re.compile(rf"(?<![^&])({'|'.join(_PASSWORDS)})=[^&]*")
_SIGNATURE = re.compile(r"(signature=)[A-Za-z0-9%+/_=-]+", re.IGNORECASE)


class Secret:
    """A text that is handed on but never shown: `str`, `repr`, `format` give `***`; pickle and JSON refuse
    it.

    >>> f"the key is {Secret('hunter2-hunter2')}" 'the key is ***'"""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        register(text)

    def reveal(self) -> str:
        """The secret itself. Call it where it is used, and keep no copy."""
        return self._text

    def __str__(self) -> str:
        return HIDDEN

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __format__(self, specification: str) -> str:
        return format(str(self), specification)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} is never pickled: pass the name of the setting that holds it"
        )


class SecretUrl(Secret):
    """A URL that may carry a password (Redis): shown without it, `redis://user:***@host:6379/0`."""

    __slots__ = ()

    def __init__(self, url: str) -> None:
        self._text = url
        for password in passwords_in(url):
            register(password)

    def __str__(self) -> str:
        return without_password(self._text)


class DatabaseUrl(SecretUrl):
    """A URL of the archive's database: `sqlite:///PATH` or `postgresql://user@host:5432/database`."""

    __slots__ = ()

    def __str__(self) -> str:
        return self._text if self._text.startswith("sqlite:") else super().__str__()


def passwords_in(url: str) -> list[str]:
    """The passwords a URL carries, as `user:password@` or `?password=`; percent-decoded, and as written."""
    try:
        parts = _readable(url)
        found = [parts.password or ""] + [text for name, text in parse_qsl(parts.query) if name in _PASSWORDS]
    except ValueError:
        found = [url, url.partition("://")[2].rpartition("@")[0].rpartition(":")[2]]
    return [text for written in found if written for text in dict.fromkeys((written, unquote(written)))]


def without_password(url: str) -> str:
    """The URL with `***` for each password; a text that is no URL disappears altogether."""
    try:
        parts = _readable(url)
        if parts.password is not None:
            host = parts.netloc.rpartition("@")[2]
            parts = parts._replace(netloc=f"{parts.username or ''}:{HIDDEN}@{host}")
        return urlunsplit(parts._replace(query=_PASSWORD_OPTION.sub(rf"\1={HIDDEN}", parts.query)))
    except ValueError:
        return HIDDEN


def _readable(url: str) -> SplitResult:
    """The parts of a URL; ValueError if what looks like a password is in the wrong part (`/`, `?`, `#`
    unencoded)."""
    parts = urlsplit(url)
    if "@" in parts.path + parts.query + parts.fragment:
        raise ValueError("an @ behind the host")
    return parts


@dataclass(frozen=True)
class _Index:
    """What to look for in a text: every needle, longest first, and by the first letters of its anchor."""

    needles: tuple[_Needle, ...]
    by_start: dict[str, list[_Needle]]
    everywhere: list[_Needle]
    """Those whose anchor is too short for that."""

    def candidates(self, text: str) -> Sequence[_Needle]:
        """The needles that may be in a text, longest first: with many, looking for each would take too long."""
        if len(self.needles) <= FEW:
            return self.needles
        starts = {text[at : at + START_LENGTH] for at in range(len(text) - START_LENGTH + 1)}
        found = [needle for start in starts for needle in self.by_start.get(start, ())]
        return sorted([*found, *self.everywhere], key=_Needle.order)


class SecretRegistry:
    """The secrets of one process, in every form in which they could turn up in a text."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._needles: set[_Needle] = set()
        self._index: _Index | None = None

    def add(self, secret: str) -> None:
        """Know `secret` from now on; a text under 4 characters is not searched for."""
        with self._lock:
            new = {part for part in _parts(secret) if len(part) >= MIN_SCRUBBED_LENGTH} - self._known
            if new:
                self._known |= new
                self._needles.update(*map(_needles, new))
                self._index = None

    def scrub(self, text: str) -> str:
        """`text` with `***` for each known secret, each password in a URL, and each request signature.

        A signature isn't a secret, but while its receive window lasts, whoever reads it could send the
        request."""
        for needle in (self._index or self._indexed()).candidates(text):
            if needle.anchor in text:
                text = needle.remove(text)
        if "://" in text and "@" in text:
            text = _URL_PASSWORD.sub(rf"\1{HIDDEN}", text)
        if "ignature=" in text:
            text = _SIGNATURE.sub(rf"\1{HIDDEN}", text)
        return text

    def _indexed(self) -> _Index:
        with self._lock:
            by_start: dict[str, list[_Needle]] = {}
            for needle in self._needles:
                by_start.setdefault(needle.anchor[:START_LENGTH], []).append(needle)
            everywhere = [
                needle
                for start in [one for one in by_start if len(one) < START_LENGTH]
                for needle in by_start.pop(start)
            ]
            in_order = tuple(sorted(self._needles, key=_Needle.order))
            self._index = _Index(in_order, by_start, everywhere)
            return self._index


class _Needle:
    """One form of one secret. `anchor` is a part that every spelling of it contains, quick to look for."""

    __slots__ = ("anchor", "form", "pattern")

    def __init__(self, form: str) -> None:
        self.form = form
        plain = re.findall(r"[A-Za-z0-9]+", form)
        self.anchor = max(plain, key=len, default="")
        self.pattern = None if self.anchor == form else re.compile("".join(map(_spellings, form)))

    def remove(self, text: str) -> str:
        return text.replace(self.form, HIDDEN) if self.pattern is None else self.pattern.sub(HIDDEN, text)

    def order(self) -> tuple[int, str]:
        return -len(self.form), self.form

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Needle) and self.form == other.form

    def __hash__(self) -> int:
        return hash(self.form)


def _parts(secret: str) -> set[str]:
    """The secret, and its longer lines but for those that only say what it is (`-----BEGIN …`)."""
    lines = {line.strip() for line in secret.splitlines() if not line.startswith("-----")}
    return {secret.strip()} | {line for line in lines if len(line) >= MIN_LINE_LENGTH}


def _needles(secret: str) -> set[_Needle]:
    """A secret as it stands, and as base64 shows it at each of the three places it can have in a longer
    text."""
    forms = {secret}
    if len(secret) >= MIN_ENCODED_LENGTH:
        for shift in range(3):
            encoded = b64encode(bytes(shift) + secret.encode()).decode().rstrip("=")
            # The first and the last letter also depend on what stands before and behind.
            first = (shift * 8 + 5) // 6
            last = (shift + len(secret.encode())) * 8 // 6
            forms.add(encoded[first:last])
    return {_Needle(form) for form in forms} | {
        _Needle(form.replace("+", "-").replace("/", "_")) for form in forms - {secret}
    }


def _spellings(character: str) -> str:
    """A pattern for one character of a secret: as it is, percent-encoded, or escaped by JSON, repr or
    both."""
    if character.isascii() and character.isalnum():
        return character
    escaped = {
        json.dumps(character)[1:-1],
        json.dumps(character, ensure_ascii=False)[1:-1],
        repr(character)[1:-1],
    }
    escaped |= {ascii(character)[1:-1]}
    spelled = [r"\\+" + re.escape(text.lstrip("\\")) for text in sorted(escaped) if text.startswith("\\")]
    percent = re.sub(
        "%..", lambda match: f"(?i:{match[0]})", quote(character, safe="") if character != "~" else "%7E"
    )
    if not percent.startswith("(?i:"):  # `quote` leaves these as they are; other encoders don't
        percent = f"(?i:%{ord(character):02x})"
    spelled += [re.escape(character), rf"\\+{re.escape(character)}", percent]
    if character == " ":
        spelled.append(r"\+")
    return f"(?:{'|'.join(spelled)})"


_registry: Final = SecretRegistry()
"""The process's own: what must be hidden is known per process, whichever part of it writes."""


def register(secret: str) -> None:
    """Hide `secret` from now on in whatever this process writes."""
    _registry.add(secret)


def scrub(text: str) -> str:
    """`text` without any secret of this process; see `SecretRegistry.scrub`."""
    return _registry.scrub(text)
