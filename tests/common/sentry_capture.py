"""A Sentry transport that keeps what would be sent, as the bytes that would be sent."""

from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport


class CapturingTransport(Transport):
    def __init__(self) -> None:
        super().__init__({"dsn": None})
        self.sent: list[bytes] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent.append(envelope.serialize())

    @property
    def text(self) -> str:
        return b"\n".join(self.sent).decode()
