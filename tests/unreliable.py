"""A network that breaks: a relay on loopback that cuts or stalls what comes back through it."""

import contextlib
import socket
import threading
from collections.abc import Iterator

BLOCK = 1 << 16


class Relay:
    """Passes connections on to `port`. The next `bad` of them break once `after` bytes have come back: cut off, or silent; None:
    before anything has gone either way."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.port = int(self._listener.getsockname()[1])
        self.bad = 0
        self.after: int | None = 0
        self.silent = False

    def break_next(self, bad: int, *, after: int | None, silent: bool = False) -> None:
        """Let the next `bad` connections break; those that are open are closed, so that none is used again."""
        self.bad, self.after, self.silent = bad, after, silent
        for connection in list(self._open):
            _end(connection)

    def serve(self) -> None:
        """Take connections until the relay is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            limit = None
            if self.bad:
                self.bad -= 1
                limit = self.after
                if limit is None:
                    _end(client)
                    continue
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open |= {client, server}
            threading.Thread(target=self._pass_on, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, limit), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(BLOCK if limit is None else min(BLOCK, max(limit - passed, 1))):
                passed += len(data)
                if limit is not None and passed > limit:
                    if self.silent:
                        return
                    break
                target.sendall(data)
        for connection in (source, target):
            _end(connection)

    def close(self) -> None:
        _end(self._listener)
        for connection in self._open:
            _end(connection)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextlib.contextmanager
def relay_to(port: int) -> Iterator[Relay]:
    """A relay to `port` of loopback."""
    relay = Relay(port)
    thread = threading.Thread(target=relay.serve, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.close()
        thread.join(timeout=10)
