"""An exchange behind one small interface: `open_exchange(settings)` gives it, `base` says what it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.exchange.params import forbidden_params
from common.exchange.settings import Credentials, ExchangeSettings

if TYPE_CHECKING:
    from common.exchange.ccxt_exchange import CcxtExchange, OnUsage

__all__ = ["Credentials", "ExchangeSettings", "forbidden_params", "open_exchange"]


def open_exchange(settings: ExchangeSettings, on_usage: OnUsage | None = None) -> CcxtExchange:
    """The exchange of these settings. Nothing is sent yet; `close` it in the end.

    Raises:
        ValueError: ccxt has no such venue, or the venue can't do what the settings ask for.
    """
    # Here, so that who only needs the types doesn't pay for ccxt: half a second and 76 MB.
    from common.exchange.ccxt_exchange import CcxtExchange

    return CcxtExchange(settings, on_usage)
