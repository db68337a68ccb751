"""An MPTCP client: ADDRESS, PORT, NUMBER. Connects so often, asks and reads the answer, and prints it.

It fails unless every connection is one of MPTCP to its end, and none has fallen back to TCP.
"""
import socket
import struct
import sys

SOL_MPTCP, MPTCP_INFO, FALLBACK = 284, 1, 1

address, port, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for _ in range(number):
    client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
    client.settimeout(5)
    client.connect((address, port))
    client.sendall(b"GET /\r\n")
    answer = client.makefile().readline()
    # The flags come after six bytes and two of room.
    (flags,) = struct.unpack_from("@I", client.getsockopt(SOL_MPTCP, MPTCP_INFO, 256), 8)
    if flags & FALLBACK:
        sys.exit("a connection has fallen back to TCP")
    print(answer, end="")
    client.close()
