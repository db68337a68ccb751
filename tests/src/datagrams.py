"""One UDP daemon: answers every datagram with who it is and what it sees.

Says "ready" on stdout once it is bound, and ends with its stdin, so that it never outlives the test.
"""
import select
import socket
import sys

port, address, label = int(sys.argv[1]), sys.argv[3], sys.argv[4]
v6 = ":" in address
server = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
if v6:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind((address, port))
server.setblocking(False)

poll = select.epoll()
poll.register(server, select.EPOLLIN)
poll.register(0, select.EPOLLIN)
print("ready", flush=True)


def plain(name):
    return "%s %d" % (name[0].removeprefix("::ffff:"), name[1])


def serve():
    try:
        _, peer = server.recvfrom(65536)
        server.sendto(("%s %s %s\n" % (label, plain(peer), plain(server.getsockname()))).encode(), peer)
    except OSError:
        pass


while True:
    for number, _ in poll.poll():
        if number == 0:
            sys.exit()
        serve()
