"""A road that takes time: what comes in on one side goes out on the other a fixed time later, in both directions.

It delays and does not narrow: whatever the amount, bytes leave one delay after they came, and no reader waits for a slow
writer. One thread and `select`, whose timeout is in microseconds where that of epoll is in whole milliseconds, which would
make of 1 ms up to 2. All delays are alike, so what waits is one queue in the order of arrival.
"""

import select
import socket
import sys
import time
from collections import deque

CHUNK = 262_144
SPIN_SECONDS = 0.00005


def main() -> None:
    here, there, delay = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    listener = socket.create_server(("127.0.0.1", here), backlog=1024)
    peers: dict[socket.socket, socket.socket] = {}
    waiting: deque[tuple[float, socket.socket, bytes]] = deque()
    while True:
        timeout = max(0.0, waiting[0][0] - time.perf_counter()) if waiting else None
        readable, _, _ = select.select([listener, *peers], [], [], timeout)
        for end in readable:
            if end is listener:
                accept(listener, there, peers)
                continue
            data = receive(end)
            waiting.append((time.perf_counter() + delay, peers[end], data))
            if not data:
                del peers[end]
        now = time.perf_counter()
        while waiting and waiting[0][0] <= now + SPIN_SECONDS:
            _, target, data = waiting.popleft()
            forward(target, data)


def accept(listener: socket.socket, there: int, peers: dict[socket.socket, socket.socket]) -> None:
    left, _ = listener.accept()
    right = socket.create_connection(("127.0.0.1", there))
    for end in (left, right):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Roomy enough that writing never waits: SMTP has no more under way than a mail or two.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * CHUNK)
    peers[left], peers[right] = right, left


def receive(end: socket.socket) -> bytes:
    try:
        return end.recv(CHUNK)
    except ConnectionError:
        return b""


def forward(target: socket.socket, data: bytes) -> None:
    """Pass bytes on, or the end of them."""
    try:
        if data:
            target.sendall(data)
        else:
            target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # that side is gone; the other learns it from its own reads


if __name__ == "__main__":
    main()
