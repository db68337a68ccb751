"""Says what a router on the way would say of a datagram that does not fit: FROM, PORT, TO, PORT, MTU.

FROM, PORT, TO and PORT are of the datagram, so this runs at its destination and tells its source.
"""
import socket
import struct
import sys

source, from_port, target, to_port, mtu = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
udp = struct.pack(">4H", from_port, to_port, 1408, 0)


def checksum(data):
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


if ":" in source:
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    about = struct.pack(">IHBB", 6 << 28, 1408, 17, 64) + addresses + udp
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.sendto(struct.pack(">BBHI", 2, 0, 0, mtu) + about, (source, 0))
else:
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    about = struct.pack(">BBHHHBBH", 0x45, 0, 1428, 1, 0x4000, 64, 17, 0) + addresses + udp
    error = struct.pack(">BBHI", 3, 4, 0, mtu)
    error = struct.pack(">BBHI", 3, 4, checksum(error + about), mtu)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.sendto(error + about, (source, 0))
