"""A UDP server on the port that PORT has: answers every datagram with who it is and what it sees."""
import os
import socket

port = int(os.environ["PORT"])
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind(("::", port))
while True:
    _, peer = server.recvfrom(65536)
    address = peer[0].removeprefix("::ffff:")
    server.sendto(b"%d %s %d %s %d\n" % (port, address.encode(), peer[1], b"::", port), peer)
