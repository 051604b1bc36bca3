"""Watchers of the default namespace's pods, for `bench/apiserver.py`: as little client as possible, in one process.

    python bench/watchers_process.py port ca watchers events version

Prints a line when all of them watch, and another when each has heard so many events.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import sys


def opened(port: int, context: ssl.SSLContext, version: str) -> ssl.SSLSocket:
    connection = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
    path = f"/api/v1/namespaces/default/pods?watch=true&resourceVersion={version}"
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer bench-token\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    connection.setblocking(False)
    return connection


def main(port: int, ca: str, watchers: int, events: int, version: str) -> None:
    context = ssl.create_default_context(cafile=ca)
    selector = selectors.DefaultSelector()
    heard = {opened(port, context, version): 0 for _ in range(watchers)}
    for connection in heard:
        selector.register(connection, selectors.EVENT_READ)
    print("watching", flush=True)
    tails = dict.fromkeys(heard, b"")
    mark = b'{"type":"'
    while heard:
        for key, _ in selector.select():
            client = key.fileobj
            assert isinstance(client, ssl.SSLSocket)
            try:
                while data := client.recv(1 << 18):
                    data = tails[client] + data
                    heard[client] += data.count(mark)
                    tails[client] = data[-len(mark) + 1 :]
                else:
                    raise SystemExit("a watch ended")
            except ssl.SSLWantReadError:
                pass
            if heard[client] >= events:
                selector.unregister(client)
                del heard[client]
    print("heard", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
