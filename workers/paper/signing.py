"""Who is asking: API key, signature and timestamp, checked as Binance checks them.

Source: Binance "SIGNED endpoint security": HMAC-SHA256 over query string and body as sent, without the
signature; ``recvWindow`` 5000 ms unless sent, 60000 at most; a timestamp may be at most 1000 ms ahead of
the server.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from workers.paper.accounts import Credentials
from workers.paper.calls import Call
from workers.paper.errors import Refusal, illegal_characters, mandatory

DEFAULT_WINDOW_MS = 5_000
GREATEST_WINDOW_MS = 60_000
AHEAD_MS = 1_000
INTEGER_RANGE = "^[0-9]{1,20}$"


def signed_text(query: str, body: str) -> str:
    """What a signature covers: query and body, joined, each without its ``signature``."""
    return _without_signature(query) + _without_signature(body)


def _without_signature(part: str) -> str:
    if "signature=" not in part:
        return part
    return "&".join(item for item in part.split("&") if not item.startswith("signature="))


def sign(secret: str, text: str) -> str:
    """The signature of ``text`` as lower-case hex."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def identify(call: Call, by_key: Mapping[str, Credentials]) -> Credentials:
    """The account whose API key the call carries. Raises -2014 without a key, -2015 for an unknown one."""
    if not call.key:
        raise Refusal(-2014, "API-key format invalid.", 401)
    credentials = by_key.get(call.key)
    if credentials is None:
        raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return credentials


def check_signature(call: Call, secret: str) -> None:
    """The call was signed with ``secret``. Raises -1102 or -1022."""
    signature = call.params.get("signature", "")
    if not signature:
        raise mandatory("signature")
    expected = sign(secret, signed_text(call.query, call.body))
    if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
        raise Refusal(-1022, "Signature for this request is not valid.")


def check_time(call: Call, now_ms: int) -> None:
    """The call is neither too old nor from the future. Raises -1021, or -1102, -1100, -1131 for what was
    sent.
    """
    timestamp = _integer(call, "timestamp")
    if timestamp is None:
        raise mandatory("timestamp")
    window = _integer(call, "recvWindow")
    window = DEFAULT_WINDOW_MS if window is None else window
    if window > GREATEST_WINDOW_MS:
        raise Refusal(-1131, "recvWindow must be less than 60000.")
    if timestamp >= now_ms + AHEAD_MS:
        raise Refusal(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - timestamp > window:
        raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")


def _integer(call: Call, name: str) -> int | None:
    value = call.params.get(name, "")
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 20:
        raise illegal_characters(name, INTEGER_RANGE)
    return int(value)
