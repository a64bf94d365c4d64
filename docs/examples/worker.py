"""Serves requests in capitals in MDP/1.0: python worker.py ENDPOINT SERVICE

Written from docs/protocol.md alone. Needs pyzmq.
"""
import struct
import sys
import time

import zmq

READY, WELCOME, REQUEST, FINAL, ERROR, HEARTBEAT, DISCONNECT = 1, 2, 3, 5, 6, 8, 10


def record(command, fields=b"", body=b""):
    content = struct.pack("!BBH", command, 0, 0) + fields + struct.pack("!H", 0) + body
    return struct.pack("!I", len(content)) + content


def records(frames):
    """Yields (command, fields and more, body frames that stand behind the batch)."""
    batch, bodies, at = frames[0], frames[1:], 6
    while at < len(batch):
        (length,) = struct.unpack_from("!I", batch, at)
        command, _flags, count = struct.unpack_from("!BBH", batch, at + 4)
        yield command, batch[at + 8 : at + 4 + length], [bodies.pop(0) for _ in range(count)]
        at += 4 + length


def handle(task, rest, bodies):
    (metadata,) = struct.unpack_from("!H", rest, 5)
    body = b"".join(bodies) or rest[7 + metadata :]
    if body == b"fail":
        text = b"asked to fail"
        return record(ERROR, task + struct.pack("!HH", 500, len(text)) + text)
    return record(FINAL, task, body.upper())


def serve(endpoint, service, capacity=100):
    """Returns when the broker is lost or says DISCONNECT; call it again then."""
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(endpoint)
    ready = struct.pack("!HIBB", capacity, 0, 0, len(service)) + service
    socket.send(b"MDPW10" + record(READY, ready))
    interval, liveness = 2.5, 3
    heard = told = time.monotonic()
    while time.monotonic() < heard + interval * liveness:
        answers = b""
        if socket.poll(1000 * max(0, told + interval - time.monotonic())):
            heard = time.monotonic()
            for command, rest, bodies in records(socket.recv_multipart()):
                if command == WELCOME:
                    interval_ms, liveness = struct.unpack_from("!IB", rest)
                    interval = interval_ms / 1000
                    print("registered", flush=True)
                elif command == REQUEST:
                    answers += handle(rest[:8], rest[8:], bodies)
                elif command == DISCONNECT:
                    return
        if answers or time.monotonic() >= told + interval:
            socket.send(b"MDPW10" + (answers or record(HEARTBEAT)))
            told = time.monotonic()


if __name__ == "__main__":
    while True:
        serve(sys.argv[1], sys.argv[2].encode())
