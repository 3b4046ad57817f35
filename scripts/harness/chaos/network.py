"""The network between the pool and the exchange: late, half-open, cut at any byte; names that don't resolve; TLS that
fails."""

from __future__ import annotations

import datetime
import ssl
import time
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.harness.chaos.proxy import CALM, Mood
from scripts.harness.chaos.stage import Stage
from scripts.harness.chaos.worlds import refusals

BAD_NETWORK: Final = Mood(drop_reply=0.03, cut_reply=0.03, cut_request=0.03, swallow_reply=0.02, delay_ms=150)
CHANGES: Final = "^(POST|PUT|DELETE) .*/order$"
LATE_SHARE: Final = 0.3
OUTAGE_SECONDS: Final = 2.0
LOSES_REPLIES: Final = Mood(drop_reply=0.2)


def play_network(stage: Stage) -> None:
    """Delays, cuts at any byte and half-open connections all along; deaf, refusing and severed for a while each."""
    proxy = stage.exchange_proxy()
    stage.open_house()
    proxy.mood = BAD_NETWORK
    stage.submitter.begin(stage.plan())
    for share, mood, what in (
        (0.25, Mood(deaf=True), "accepts connections and reads nothing"),
        (0.5, Mood(refuse=True), "refuses connections"),
        (0.75, BAD_NETWORK, "severs every connection"),
    ):
        stage.after(share)
        stage.fault(f"the exchange {what}")
        proxy.mood = mood
        proxy.cut_all()
        time.sleep(OUTAGE_SECONDS)
        proxy.mood = BAD_NETWORK
    stage.after(1.0)
    time.sleep(2)
    proxy.mood = CALM
    stage.drain()


def play_late(stage: Stage) -> None:
    """Requests that are long under way: executed when their sender has given up waiting and asked, and found nothing,
    and within the receive window. A worker is killed meanwhile."""
    timing = stage.timing
    late_ms = (timing.request_timeout_ms + timing.receive_window_ms) // 2
    stage.exchange_fault(route=CHANGES, fault="delay", delay_ms=late_ms, probability=LATE_SHARE)
    stage.open_house()
    stage.submitter.begin(stage.plan())
    stage.after(0.5)
    stage.kill(stage.fleet.alive("binance")[0])
    stage.drain()


def play_names(stage: Stage) -> None:
    """Replies are lost, then no name resolves any more: accepted orders can't be asked for until it does. A worker that
    is started meanwhile waits."""
    proxy = stage.exchange_proxy()
    stage.worker_environment["ORDERLANE_PAPER_URL"] = f"http://localhost:{proxy.port}"
    gone = stage.folder / "resolver-gone"
    stage.open_house(world=f"resolver_gone={gone}")
    stage.submitter.begin(stage.plan())
    for share in (0.3, 0.65):
        stage.after(share - 0.1)
        proxy.mood = LOSES_REPLIES
        stage.after(share)
        stage.fault("no name resolves")
        gone.touch()
        proxy.cut_all()
        stage.kill(stage.fleet.alive("binance")[0])
        time.sleep(OUTAGE_SECONDS)
        gone.unlink()
        stage.fault("names resolve again")
        proxy.mood = CALM
    stage.drain()
    asked = refusals(gone).stat().st_size if refusals(gone).exists() else 0
    stage.notes.append(f"{asked} times a worker asked for the exchange's address in vain")
    if not asked:
        stage.findings.append(
            "no worker asked for the exchange's address while none was to be had: nothing was tried"
        )


def play_tls(stage: Stage) -> None:
    """The exchange shows a certificate that nobody trusts, for a while, twice."""
    good = Authority(stage.folder / "good")
    foreign = Authority(stage.folder / "foreign")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(good.chain)
    proxy = stage.exchange_proxy(tls=context)
    stage.worker_environment["ORDERLANE_PAPER_URL"] = f"https://localhost:{proxy.port}"
    stage.open_house(world=f"trust={good.bundle}")
    stage.submitter.begin(stage.plan())
    for share in (0.3, 0.65):
        stage.after(share)
        stage.fault("the exchange shows a foreign certificate")
        context.load_cert_chain(foreign.chain)
        proxy.cut_all()
        time.sleep(OUTAGE_SECONDS)
        stage.fault("the exchange shows its own certificate")
        context.load_cert_chain(good.chain)
    stage.drain()


class Authority:
    """A certificate for `localhost` that signs itself: `chain` for the server (key included), `bundle` for clients."""

    def __init__(self, stem: Path) -> None:
        self.chain = stem.with_suffix(".chain.pem")
        self.bundle = stem.with_suffix(".bundle.pem")
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{stem.name} authority")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        shown = certificate.public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self.bundle.write_bytes(shown)
        self.chain.write_bytes(private + shown)
