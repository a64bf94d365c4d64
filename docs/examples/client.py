"""Calls a service of a Majordomo broker in MDP/1.0: python client.py ENDPOINT SERVICE TEXT

Written from docs/protocol.md alone. Needs pyzmq.
"""
import os
import struct
import sys

import zmq

REQUEST, PARTIAL, FINAL, ERROR = 1, 4, 5, 6


def request(request_id, service, body, timeout_ms=0):
    fields = request_id + struct.pack("!IIB", timeout_ms, 0, len(service)) + service
    record = struct.pack("!BBH", REQUEST, 0, 0) + fields + struct.pack("!H", 0) + body
    return b"MDPC10" + struct.pack("!I", len(record)) + record


def records(frames):
    """Yields (command, fields and more, body frames that stand behind the batch)."""
    batch, bodies, at = frames[0], frames[1:], 6
    while at < len(batch):
        (length,) = struct.unpack_from("!I", batch, at)
        command, _flags, count = struct.unpack_from("!BBH", batch, at + 4)
        yield command, batch[at + 8 : at + 4 + length], [bodies.pop(0) for _ in range(count)]
        at += 4 + length


def after_metadata(rest):
    (length,) = struct.unpack_from("!H", rest)
    return rest[2 + length :]


def call(endpoint, service, body, timeout_ms=10_000):
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(endpoint)
    request_id = os.urandom(16)
    socket.send(request(request_id, service, body, timeout_ms))
    while socket.poll(timeout_ms):
        for command, rest, bodies in records(socket.recv_multipart()):
            answered, rest = rest[:16], rest[16:]
            if answered != request_id:
                continue
            if command in (PARTIAL, FINAL):
                yield b"".join(bodies) or after_metadata(rest)
            if command == FINAL:
                return
            if command == ERROR:
                code, length = struct.unpack_from("!HH", rest)
                raise RuntimeError(f"{code} {rest[4 : 4 + length].decode()}")
    raise TimeoutError(f"no answer in {timeout_ms} ms")


if __name__ == "__main__":
    for part in call(sys.argv[1], sys.argv[2].encode(), sys.argv[3].encode()):
        print(part.decode(), flush=True)
