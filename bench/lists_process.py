"""A client that lists all ConfigMaps again and again, for `bench/latency.py`: prints the bytes of each answer.

python bench/lists_process.py port ca
"""

from __future__ import annotations

import socket
import ssl
import sys


def main(port: int, ca: str) -> None:
    context = ssl.create_default_context(cafile=ca)
    connection = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
    buffer = bytearray(1 << 20)
    request = b"GET /api/v1/configmaps HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer bench-token\r\n\r\n"
    while True:
        connection.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        lines, _, body = head.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in lines.lower().split(b"\r\n") if b"content-length" in line)
        left = length - len(body)
        while left:
            left -= connection.recv_into(buffer, min(left, len(buffer)))
        print(length, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
