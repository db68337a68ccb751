"""One UDP daemon: answers every datagram with who it is and what it sees.

A datagram may ask for more: "size N" for an answer of N bytes, "burst N" for N answers of 1000 bytes in one call
(UDP_SEGMENT), "count" for what the daemon has counted: datagrams and bytes received, bytes sent. Questions for that are
not counted. "connected" makes a socket for every client, connected to it, as many daemons for DTLS do.

Says "ready" on stdout once it is bound, and ends with its stdin, so that it never outlives the test.
"""
import select
import socket
import struct
import sys

SOL_UDP, UDP_SEGMENT = 17, 103
PIECE = 1000

port, address, label = int(sys.argv[1]), sys.argv[3], sys.argv[4]
connected = "connected" in sys.argv[5:]
v6 = ":" in address
received, bytes_received, bytes_sent = 0, 0, 0


def bound():
    made = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    if v6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if connected:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    made.setblocking(False)
    poll.register(made, select.EPOLLIN)
    sockets[made.fileno()] = made
    return made


poll = select.epoll()
sockets = {}
server = bound()
clients = {}
poll.register(0, select.EPOLLIN)
print("ready", flush=True)


def plain(name):
    return "%s %d" % (name[0].removeprefix("::ffff:"), name[1])


def answer(asked, peer, sock):
    global received, bytes_received, bytes_sent
    words = asked[:32].split()
    if words[:1] == [b"count"]:
        sock.sendto(b"%d %d %d" % (received, bytes_received, bytes_sent), peer)
        return
    received, bytes_received = received + 1, bytes_received + len(asked)
    line = ("%s %s %s\n" % (label, plain(peer), plain(sock.getsockname()))).encode()
    if words[:1] == [b"burst"]:
        line = line.ljust(PIECE, b".") * int(words[1])
        piece = [(SOL_UDP, UDP_SEGMENT, struct.pack("@H", PIECE))]
        bytes_sent += sock.sendmsg([line], piece, 0, peer)
        return
    if words[:1] == [b"size"]:
        line = line.ljust(int(words[1]), b".")
    bytes_sent += sock.sendto(line, peer)


def serve(sock):
    try:
        asked, peer = sock.recvfrom(65536)
        if connected and sock is server and peer not in clients:
            clients[peer] = bound()
            clients[peer].connect(peer)
        answer(asked, peer, clients.get(peer, sock))
    except OSError:
        pass


while True:
    for number, _ in poll.poll():
        if number == 0:
            sys.exit()
        serve(sockets[number])
