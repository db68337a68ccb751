"""One single-threaded daemon: answers a connection's first line with who it is and what it sees, and echoes later lines.

Says "ready" on stdout once it listens, and ends with its stdin, so that it never outlives the test. SIGUSR1 makes it shut
its listener, and keep the file descriptor and the open connections.
"""
import select
import signal
import socket
import sys

port, backlog, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
label, options = sys.argv[4], sys.argv[5:]
v6 = ":" in address
protocol = socket.IPPROTO_MPTCP if "mptcp" in options else socket.IPPROTO_TCP
listener = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM, protocol)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if "reuseport" in options:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
if v6:
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, "v6only" in options)
listener.bind((address, port))
listener.listen(backlog)
listener.setblocking(False)

poll = select.epoll()
poll.register(listener, select.EPOLLIN)
poll.register(0, select.EPOLLIN)
open_connections = {}


def shut(_signal, _frame):
    poll.unregister(listener)
    listener.shutdown(socket.SHUT_RD)


signal.signal(signal.SIGUSR1, shut)
print("ready", flush=True)


def plain(name):
    return "%s %d" % (name[0].removeprefix("::ffff:"), name[1])


def accept():
    for _ in range(64):
        try:
            connection, peer = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        answer = "%s %s %s\n" % (label, plain(peer), plain(connection.getsockname()))
        open_connections[connection.fileno()] = [connection, answer.encode()]
        poll.register(connection, select.EPOLLIN)
        serve(connection.fileno())


def serve(number):
    connection, answer = entry = open_connections[number]
    try:
        line = connection.recv(65536)
        if line:
            connection.sendall(answer or line)
            entry[1] = None
            return
    except BlockingIOError:
        return
    except OSError:
        pass
    del open_connections[number]
    connection.close()


while True:
    for number, _ in poll.poll():
        if number == listener.fileno():
            accept()
        elif number == 0:
            sys.exit()
        else:
            serve(number)
