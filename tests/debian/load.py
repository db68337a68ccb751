"""Asks port 80 of a host over and over until it is told to end, and fails if a request did. The first argument is the
host. It prints what it gets each time that this is something else, and at the end how often it has asked and what came
last."""
import signal
import socket
import sys
import time

asked, failed, last = 0, 0, ""
signal.signal(signal.SIGTERM, lambda *_: globals().update(asks=False))
asks = True
while asks or asked < 20:
    try:
        with socket.create_connection((sys.argv[1], 80), 10) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        body = answer.split(b"\r\n\r\n", 1)[1].decode()
        assert body, "empty answer"
    except (OSError, AssertionError, IndexError) as error:
        failed += 1
        print("request %d at %s: %r" % (asked, time.strftime("%T"), error), flush=True)
    else:
        if body != last:
            last = body
            print(last.strip(), flush=True)
    asked += 1
print("%d requests, %d failed: %s" % (asked, failed, last.strip()), flush=True)
sys.exit(failed > 0)
