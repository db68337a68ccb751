"""A UDP client that sends as few do: MODE, ADDRESS, PORT, OWN PORT, NUMBER.

"nocheck" sends so many datagrams without a checksum; "segment" sends so many in one call, for the kernel or the
network card to cut (UDP_SEGMENT); "burst" asks the daemon to do so. Prints the first line of each answer.
"""
import socket
import sys

SO_NO_CHECK, SOL_UDP, UDP_SEGMENT, PIECE = 11, 17, 103, 1000

mode, address, port, own, number = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(5)
client.bind(("", own))
client.connect((address, port))
datagram = b"size 500 ".ljust(PIECE, b".")
if mode == "burst":
    client.send(b"burst %d" % number)
elif mode == "segment":
    client.setsockopt(SOL_UDP, UDP_SEGMENT, PIECE)
    client.send(datagram * number)
else:
    client.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    for _ in range(number):
        client.send(datagram)
for _ in range(number):
    print(client.recv(65536).split(b"\n")[0].decode())
