"""What the audit says of a request: one entry for each order it asked to place, cancel or amend. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from workers.paper.audit import AuditEntry
from workers.paper.calls import Call, Route
from workers.paper.errors import Refusal

Json = dict[str, Any]
CLIENT_NAMES = {
    "place": ("newClientOrderId", "clientAlgoId"),
    "cancel": ("origClientOrderId", "clientAlgoId"),
    "amend": ("origClientOrderId",),
    "cancel_all": (),
}


def entries(call: Call, route: Route, result: Any, refusal: Refusal | None) -> list[AuditEntry]:
    """The audit entries of ``call``, in the order in which its orders were taken; sequence numbers come
    later.
    """
    if route.kind == "replace":
        return _replace(call, route, result, refusal)
    if call.path.endswith("/batchOrders") and refusal is None:
        asked = _batch(call) if route.kind == "place" else [call.params] * len(result)
        return [
            _entry(call, route, route.kind, params, answer, _code(answer))
            for params, answer in zip(asked, result, strict=True)
        ]
    answer = result if isinstance(result, dict) else {}
    code = (refusal.code, refusal.message) if refusal else (0, "")
    return [_entry(call, route, route.kind, call.params, answer, code)]


def _batch(call: Call) -> list[Json]:
    batch: list[Json] = msgspec.json.decode(call.params["batchOrders"])
    return batch


def _code(answer: Json) -> tuple[int, str]:
    """The code and message of a refused part of a batch; a cancelled conditional order also carries a code,
    200.
    """
    code = int(answer.get("code", 0))
    return (code, str(answer.get("msg", ""))) if code < 0 else (0, "")


def _replace(call: Call, route: Route, result: Any, refusal: Refusal | None) -> list[AuditEntry]:
    """A cancel-replace is a cancel and a place, each with its own outcome."""
    halves: Json | None = result if refusal is None else getattr(refusal, "data", None)
    cancelled = {"symbol": call.params.get("symbol", "")}
    cancelled["origClientOrderId"] = call.params.get("cancelOrigClientOrderId", "")
    cancelled["orderId"] = call.params.get("cancelOrderId", "")
    found: list[AuditEntry] = []
    for kind, name, params in (("cancel", "cancel", cancelled), ("place", "newOrder", call.params)):
        if halves is None:
            code = (refusal.code, refusal.message) if refusal else (0, "")
            found.append(_entry(call, route, kind, params, {}, code))
        elif halves[f"{name}Result"] != "NOT_ATTEMPTED":
            answer = halves[f"{name}Response"]
            found.append(_entry(call, route, kind, params, answer, _code(answer)))
    return found


def _entry(
    call: Call, route: Route, kind: str, params: Json, answer: Json, code: tuple[int, str]
) -> AuditEntry:
    client_id = next((params[name] for name in CLIENT_NAMES[kind] if params.get(name)), "")
    if not client_id and kind != "cancel_all":
        names = ("origClientOrderId", "clientOrderId", "clientAlgoId")
        client_id = next((answer[name] for name in names if answer.get(name)), "")
    order_id = answer.get("orderId") or answer.get("algoId") or params.get("orderId") or params.get("algoId")
    return AuditEntry(
        sequence=0,
        at_ms=call.at_ms,
        at_us=call.at_us,
        product=route.product,
        account=call.account,
        symbol=str(params.get("symbol") or answer.get("symbol", "")),
        kind=kind,
        client_order_id=str(client_id),
        order_id=_number(order_id),
        side=str(params.get("side") or answer.get("side", "")),
        type=str(params.get("type") or answer.get("type") or answer.get("orderType", "")),
        quantity=str(params.get("quantity") or answer.get("origQty") or answer.get("quantity", "")),
        price=str(params.get("price") or answer.get("price", "")),
        executed=code[0] == 0,
        code=code[0],
        message=code[1],
        fault=call.fault,
        reply_dropped=call.reply_dropped,
    )


def _number(value: object) -> int:
    """An id as an integer, zero for what isn't one."""
    text = str(value or "")
    return int(text) if text.isascii() and text.isdigit() else 0
