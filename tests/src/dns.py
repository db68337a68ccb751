"""A DNS client: ADDRESS, PORT, "udp" or "tcp", NUMBER, OWN PORT.

Asks so often for the TXT record of instance.test, by UDP from OWN PORT upwards, and asks nothing twice. Prints the
instances that answered and how often; one that is "lost" did not, within five seconds.
"""
import collections
import select
import socket
import struct
import sys

address, port, transport, number = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
own = int(sys.argv[5])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
IN_FLIGHT, PATIENCE = 32, 5


def query(n):
    header = struct.pack(">6H", n & 0xffff, 0x0100, 1, 0, 0, 0)
    return header + b"\x08instance\x04test\x00" + struct.pack(">2H", 16, 1)


def read(answer, n):
    got, flags, _, answers, _, _ = struct.unpack(">6H", answer[:12])
    if (got, flags & 0x800f, answers) != (n & 0xffff, 0x8000, 1):
        return "wrong"
    # One record, so its text is the end: a byte of length, and four of the port.
    return answer[-4:].decode()


def datagrams(found):
    poll, asked = select.epoll(), {}
    for n in range(number + 1):
        while asked and (n == number or len(asked) >= IN_FLIGHT):
            ready = poll.poll(PATIENCE)
            for ended in [fd for fd, _ in ready] or list(asked):
                client, at = asked.pop(ended)
                poll.unregister(ended)
                try:
                    found[read(client.recv(4096), at) if ready else "lost"] += 1
                except OSError as error:
                    found[error.strerror] += 1
                client.close()
        if n < number:
            client = socket.socket(family, socket.SOCK_DGRAM)
            client.bind(("", own + n))
            client.connect((address, port))
            client.send(query(n))
            poll.register(client, select.EPOLLIN)
            asked[client.fileno()] = client, n


def connections(found):
    for n in range(number):
        try:
            with socket.create_connection((address, port), PATIENCE) as client:
                client.sendall(struct.pack(">H", len(query(n))) + query(n))
                answer = b""
                while len(answer) < 2 or len(answer) < 2 + struct.unpack(">H", answer[:2])[0]:
                    more = client.recv(4096)
                    if not more:
                        raise OSError(0, "closed")
                    answer += more
                found[read(answer[2:], n)] += 1
        except OSError as error:
            found[error.strerror or "lost"] += 1


found = collections.Counter()
(datagrams if transport == "udp" else connections)(found)
for instance, count in found.items():
    print(count, instance)
