"""What a process says of itself: logs, and errors to Sentry, both without secrets.

    telemetry = start_telemetry(settings, process="exchange")
    identify_process(worker=worker_id, exchange="binance")
    logging.getLogger(__name__).warning("no reference price", extra={"symbol": "BTC/USDT"})

Code logs with `logging` as usual; what it hands over in `extra` becomes fields of the line.
"""

from common.telemetry.fields import identify_process, log_context
from common.telemetry.sentry import traced
from common.telemetry.setup import Telemetry, start_telemetry
from common.telemetry.transitions import log_transition

__all__ = ["Telemetry", "identify_process", "log_context", "log_transition", "start_telemetry", "traced"]
