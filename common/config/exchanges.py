"""From the settings of one exchange to what opens it."""

from __future__ import annotations

from typing import Final

from common.config.settings import AccountSection, Settings
from common.exchange.settings import Credentials, ExchangeSettings

PAPER: Final = "paper"


def exchange_settings(settings: Settings, name: str) -> ExchangeSettings:
    """What it takes to open the exchange `name` of the pool; `endpoint: paper` becomes the paper exchange's
    URL.

    Raises:
        KeyError: the pool has no exchange of that name; the message lists those it has.
    """
    if name not in settings.exchanges:
        known = ", ".join(settings.exchanges)
        raise KeyError(f"the settings have no exchange {name!r}: expected one of {known}")
    section = settings.exchanges[name]
    return ExchangeSettings(
        name=name,
        venue=section.venue,
        accounts={account: _credentials(keys) for account, keys in section.accounts.items()},
        endpoint=settings.paper_url if section.endpoint == PAPER else section.endpoint,
        receive_window_ms=section.receive_window_ms,
        timeout_ms=section.request_timeout_ms,
    )


def _credentials(account: AccountSection) -> Credentials:
    return Credentials(key=account.key, secret=account.secret, password=account.password)
