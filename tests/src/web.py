"""A threaded HTTP server that finishes what it has begun when it is told to end.

PORT is where it listens. The first argument is its version, the others how it behaves: "crash" and "deaf" do not listen,
"sick" answers its check with 500, "dies" ends when it is checked, "late" answers everything with 500 until it has told that
it is ready, 2 seconds after it listens, "rude" does not end when told, "codes" ends with 64 and the number of the signal,
"defaults" dies of it, "notify" tells systemd, "watchdog" does so again and again, "slow" takes 1.5 seconds to listen and
tells so once a second, with a count.

The body of every answer starts with who it is: port, version, number of the worker, process. That of "/wait" comes when
the client has sent one byte more; "/leak" keeps some megabytes, and says how many by now; "/spin" has it do nothing else
from then on; "/exit/7" ends the server.
"""
import os
import select
import signal
import socket
import sys
import threading
import time

port, version, behaviour = int(os.environ["PORT"]), sys.argv[1], sys.argv[2:]
name = "%d %s %s %d" % (port, version, os.environ.get("WOCUT_WORKER", "-"), os.getpid())
MEGABYTES = 10
leaked = []
spins = threading.Event()
is_ready = threading.Event()


def tell(state):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        path = os.environ["NOTIFY_SOCKET"]
        systemd.connect("\0" + path[1:] if path.startswith("@") else path)
        systemd.send(state.encode())


def answer(path):
    words = path.split("/")[1:]
    if not is_ready.is_set():
        return 500, name
    if words[0] == "healthz":
        if "dies" in behaviour:
            os._exit(9)
        return 500 if "sick" in behaviour else 200, name
    if words[0] == "leak":
        leaked.append(b"x" * (MEGABYTES << 20))
        return 200, "%s %d" % (name, MEGABYTES * len(leaked))
    return 200, name


def serve(connection):
    with connection:
        head = b""
        try:
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            path = head.split()[1].decode()
            status, body = answer(path)
            about = (status, name, len(body))
            start = "HTTP/1.1 %d .\r\nServer: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % about
            connection.sendall(start.encode())
            if path == "/wait":
                connection.recv(1)
            connection.sendall(body.encode())
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return
    if path == "/spin":
        spins.set()
    if path.startswith("/exit/"):
        os._exit(int(path.split("/")[2]))


if "crash" in behaviour:
    sys.exit(3)
if "deaf" in behaviour:
    while True:
        signal.pause()

if "slow" in behaviour:
    time.sleep(1.5)
told, times = time.monotonic(), 0
if "late" not in behaviour:
    is_ready.set()

wake, woken = os.pipe()
if "rude" in behaviour:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: os.write(woken, b"."))
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
    if "codes" in behaviour:
        signal.signal(number, lambda number, _: os._exit(64 + number))
    if "defaults" in behaviour:
        signal.signal(number, signal.SIG_DFL)

listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
listener.bind(("::", port))
listener.listen(1024)
if "notify" in behaviour:
    tell("STATUS=" + version + " listens\nREADY=1")

while True:
    ready, _, _ = select.select([listener, wake], [], [], 0.25)
    while spins.is_set():
        pass
    if not is_ready.is_set() and time.monotonic() - told >= 2:
        is_ready.set()
        tell("READY=1")
    if "watchdog" in behaviour:
        tell("WATCHDOG=1")
    if "slow" in behaviour and time.monotonic() - told >= 1:
        told, times = time.monotonic(), times + 1
        tell("WATCHDOG=1\nSTATUS=%d" % times)
    if wake in ready:
        listener.close()
        # The interpreter waits for the threads, which have answers to give.
        sys.exit()
    if listener in ready:
        threading.Thread(target=serve, args=(listener.accept()[0],)).start()
