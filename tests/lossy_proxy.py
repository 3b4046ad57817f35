"""A TCP proxy in front of Redis that lets commands through and loses their replies, on real sockets.

    with LossyProxy("127.0.0.1", port) as proxy:
        proxy.lose_replies(to=b"EVALSHA", times=2)
        client = Client(proxy.url)

The server executes what it got; the client sees a connection cut, or silence, where a reply should be.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

READ_BYTES = 65536


class LossyProxy:
    """Forwards connections to one server. What it loses, and when, is set while it runs."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._losing: list[tuple[bytes, str]] = []
        self._before: list[tuple[bytes, Callable[[], None]]] = []
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._closed = False
        self.connections = 0
        self.lost = 0
        """Commands whose request or reply was lost."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def lose_replies(self, *, to: bytes, times: int, silently: bool = False) -> None:
        """Cut the connection instead of passing on the reply to the next commands that contain `to`.

        `silently`: swallow the reply and keep the connection open, as a lost route does.
        """
        with self._lock:
            self._losing += [(to.upper(), "swallow" if silently else "cut")] * times

    def lose_requests(self, *, to: bytes, times: int) -> None:
        """Cut the connection before the server gets the next commands that contain `to`."""
        with self._lock:
            self._losing += [(to.upper(), "refuse")] * times

    def before(self, command: bytes, action: Callable[[], None]) -> None:
        """Do something at the moment the next such command has arrived, before the server gets it."""
        with self._lock:
            self._before.append((command.upper(), action))

    def cut_all(self) -> None:
        """Cut every connection there is."""
        with self._lock:
            left, self._open = self._open, []
        for one in left:
            _cut(one)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server)
            except OSError:
                _cut(client)
                continue
            with self._lock:
                self._open += [client, server]
                self.connections += 1
            thread = threading.Thread(target=self._serve, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """Requests are passed on by this thread, replies by another that a verdict can silence or end."""
        verdict = {"kind": "pass"}
        replies = threading.Thread(target=self._pass_replies, args=(server, client, verdict), daemon=True)
        replies.start()
        with suppress(OSError):
            while request := client.recv(READ_BYTES):
                self._act(request)
                kind = self._judge(request)
                if kind == "refuse":
                    break
                if kind != "pass":
                    verdict["kind"] = kind
                server.sendall(request)
                if kind == "cut":
                    replies.join()  # it ends once the reply that shows the command was executed has come
                    break
        _cut(client)
        _cut(server)
        replies.join(5)

    def _pass_replies(self, server: socket.socket, client: socket.socket, verdict: dict[str, str]) -> None:
        with suppress(OSError):
            while reply := server.recv(READ_BYTES):
                if verdict["kind"] == "cut":
                    return
                if verdict["kind"] == "swallow":
                    continue
                client.sendall(reply)

    def _act(self, request: bytes) -> None:
        with self._lock:
            due = [one for one in self._before if one[0] in request.upper()]
            self._before = [one for one in self._before if one not in due]
        for _, action in due:
            action()

    def _judge(self, request: bytes) -> str:
        with self._lock:
            for index, (command, kind) in enumerate(self._losing):
                if command in request.upper():
                    del self._losing[index]
                    self.lost += 1
                    return kind
        return "pass"


def _cut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        one.close()
