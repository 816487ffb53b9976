"""Traffic between hosts.

echo ADDRESS                replies to what `send` sends
send ADDRESS SIZE SECONDS   prints the longest times without a reply
whoami ADDRESS              tells one client its address
ask ADDRESS SOURCE          prints what `whoami` says
api ADDRESS CERTIFICATE     stands for an API server that is ready
inetd ADDRESS PROGRAM...    runs a program for each connection to port 7194, as a socket unit of systemd with Accept=yes
poll ADDRESS SECONDS        prints the longest time in which no API server answered
"""

from __future__ import annotations

import http.client
import http.server
import itertools
import json
import socket
import ssl
import subprocess
import sys
import threading
import time

PORT, API_PORT, REVOCATIONS_PORT = 7007, 6443, 7194
PAUSE = 0.01
IP_FREEBIND = 15  # as FreeBind= of systemd
HEADERS = 28  # bytes of the IPv4 and UDP headers
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3  # sets DF, and ignores what the kernel learned about the path


def echo(address: str) -> None:
    """Send back what arrives, until the process is killed."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, PORT))
    server = socket.create_server((address, PORT))

    def reply() -> None:
        while True:
            data, sender = datagrams.recvfrom(2048)
            datagrams.sendto(data, sender)

    threading.Thread(target=reply, daemon=True).start()
    while True:
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(64):
                connection.sendall(data)


def api(address: str, certificate: str) -> None:
    """Answer every request, until the process is killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(http.HTTPStatus.OK)
            self.send_header("Content-Length", str(len(address)))
            self.end_headers()
            self.wfile.write(address.encode())

    server = http.server.ThreadingHTTPServer((address, API_PORT), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


def inetd(address: str, words: list[str]) -> None:
    """Run a program for each connection, until the process is killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        server.bind((address, REVOCATIONS_PORT))
        server.listen()
        while True:
            connection, _ = server.accept()
            with connection:
                subprocess.run(words, stdin=connection.fileno(), stdout=connection.fileno(), check=False)


def poll(address: str, seconds: float) -> dict[str, float]:
    """Return the longest time without an answer to a new connection."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    times = [time.monotonic()]
    while time.monotonic() - times[0] < seconds:
        connection = http.client.HTTPSConnection(address, API_PORT, timeout=0.5, context=context)
        try:
            connection.request("GET", "/readyz")
            connection.getresponse().read()
            times.append(time.monotonic())
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    return {"api": longest([*times, time.monotonic()])}


def longest(times: list[float]) -> float:
    """Return the longest time between two replies."""
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=1e9)


def udp(address: str, size: int, end: float, result: dict[str, float]) -> None:
    """Send a packet every 10 ms, unfragmented, and note when replies arrive."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
    sender.connect((address, PORT))
    sender.settimeout(PAUSE)
    data = bytes(size - HEADERS)
    times = [time.monotonic()]
    while time.monotonic() < end:
        try:
            sender.send(data)
            sender.recv(2048)
            times.append(time.monotonic())
            time.sleep(PAUSE)
        except OSError:  # a timeout, or no route for a moment
            time.sleep(PAUSE / 10)
    result["udp"] = longest([*times, time.monotonic()])


def connect(address: str, port: int, *, source: str = "") -> socket.socket:
    """Connect to the other side, which starts at the same time."""
    end = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection((address, port), timeout=20, source_address=(source, 0))
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def tcp(address: str, end: float, result: dict[str, float]) -> None:
    """Send a byte over one connection, wait for it to come back, and so on."""
    times = [time.monotonic()]
    with connect(address, PORT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while time.monotonic() < end:
            connection.sendall(b"x")
            if not connection.recv(1):
                raise ConnectionError
            times.append(time.monotonic())
            time.sleep(PAUSE)
    result["tcp"] = longest(times)


def main() -> None:
    """Run the part that the arguments name."""
    what, address, *rest = sys.argv[1:]
    if what == "echo":
        echo(address)
    if what == "whoami":
        with socket.create_server((address, PORT + 1)) as server:
            connection, peer = server.accept()
            with connection:
                connection.sendall(str(peer[0]).encode())
        return
    if what == "ask":
        with connect(address, PORT + 1, source=rest[0]) as connection:
            print(connection.recv(64).decode(), end="")
        return
    if what == "api":
        api(address, rest[0])
    if what == "inetd":
        inetd(address, rest)
    if what == "poll":
        print(json.dumps(poll(address, float(rest[0]))))
        return
    size, seconds = int(rest[0]), float(rest[1])
    result: dict[str, float] = {}
    connect(address, PORT).close()  # wait until the other side has started
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=udp, args=(address, size, end, result)),
        threading.Thread(target=tcp, args=(address, end, result)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
