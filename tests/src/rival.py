"""Another tool's eBPF program, which does nothing, on a hook of this network namespace.

Says "ready" on stdout once it is attached, and goes with its stdin, so that it never outlives the test.
"""
import ctypes
import os
import socket
import struct
import sys

HOOKS = {"sk_lookup": (30, 36, 1), "tcx_ingress": (3, 46, -1), "tcx_egress": (3, 47, -1)}
SYSCALLS = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
PROG_LOAD, LINK_CREATE = 5, 28

hook, name = sys.argv[1], sys.argv[2]
kind, attach_type, verdict = HOOKS[hook]
libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = libc.syscall(SYSCALLS[os.uname().machine], command, buffer, len(attributes))
    if result < 0:
        number = ctypes.get_errno()
        sys.exit(f"bpf command {command}: {os.strerror(number)}")
    return result


# r0 = verdict; exit
code = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", 0xB7, 0, 0, verdict, 0x95, 0, 0, 0))
licence = ctypes.create_string_buffer(b"GPL")
program = bpf(PROG_LOAD, struct.pack(
    "=IIQQIIQII16sII", kind, 2, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0,
    name.encode(), 0, attach_type,
))
if hook == "sk_lookup":
    target = os.open("/proc/self/ns/net", os.O_RDONLY)
else:
    target = socket.if_nametoindex(sys.argv[3])
link = bpf(LINK_CREATE, struct.pack("=IIII32x", program, target, attach_type, 0))
print("ready", flush=True)
sys.stdin.read()
