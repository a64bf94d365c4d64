"""Majordomo peers that are not ours: pyzmq, and the frame tables of RFC 7 and RFC 18.

    peers.py worker VERSION ENDPOINT SERVICE INTERVAL_MS
    peers.py client KIND ENDPOINT SERVICE BODY...

A worker serves until it is told to end by SIGTERM, and then says DISCONNECT. It
replies with the frames of the request, each in upper case. To a request whose first
frame is `stream`, a worker of 0.2 sends each further frame as a PARTIAL before it.

A client makes one call for each BODY and prints its answers, one JSON list a line: a
list of messages, each a list [command, frame...]. A comma in BODY separates frames.
KIND is one of: req, req-correlate, dealer-0.1, dealer-0.2.

The environment says who they are, if they say so: MAJORDOMO_CURVE has the keys SERVER
PUBLIC SECRET in Z85, MAJORDOMO_PLAIN has USER PASSWORD.

Everything is checked on the way: a message that is not what the tables say ends the
program with a message and exit code 1.
"""

import json
import os
import signal
import sys

import zmq

LIMIT_MS = 30_000


def expect(condition, what, message):
    if not condition:
        sys.exit(f"{what}: {message!r}")


def secure(socket):
    """Has a socket say who it is."""
    if "MAJORDOMO_CURVE" in os.environ:
        server, public, secret = os.environ["MAJORDOMO_CURVE"].split()
        socket.curve_serverkey = server.encode()
        socket.curve_publickey = public.encode()
        socket.curve_secretkey = secret.encode()
    if "MAJORDOMO_PLAIN" in os.environ:
        user, password = os.environ["MAJORDOMO_PLAIN"].split()
        socket.plain_username = user.encode()
        socket.plain_password = password.encode()


class Worker:
    """One service, one DEALER socket, one request at a time."""

    def __init__(self, version, endpoint, service, interval_ms):
        self.endpoint, self.service, self.interval_ms = endpoint, service, interval_ms
        self.head = {"0.1": [b"", b"MDPW01"], "0.2": [b"MDPW02"]}[version]
        if version == "0.1":
            self.ready, self.request, self.final = b"\x01", b"\x02", b"\x03"
            self.partial = None
            self.heartbeat, self.disconnect = b"\x04", b"\x05"
        else:
            self.ready, self.request, self.partial, self.final = b"\x01", b"\x02", b"\x03", b"\x04"
            self.heartbeat, self.disconnect = b"\x05", b"\x06"
        self.running = True
        self.socket = None

    def stop(self, *_):
        self.running = False

    def send(self, command, *frames):
        self.socket.send_multipart([*self.head, command, *frames])

    def connect(self):
        if self.socket is not None:
            self.socket.close(linger=0)
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        secure(self.socket)
        self.socket.linger = 1_000
        self.socket.connect(self.endpoint)
        self.send(self.ready, self.service)

    def serve(self):
        self.connect()
        while self.running:
            if not self.socket.poll(self.interval_ms):
                self.send(self.heartbeat)
                continue
            message = self.socket.recv_multipart()
            head = len(self.head)
            expect(message[:head] == self.head, "not for this worker", message)
            command, rest = message[head], message[head + 1 :]
            if command == self.request:
                self.reply(rest)
            elif command == self.heartbeat:
                expect(not rest, "more than a heartbeat", message)
                self.send(self.heartbeat)
            elif command == self.disconnect:
                expect(not rest, "more than a disconnect", message)
                self.connect()
            else:
                expect(False, "no command of a broker", message)
        self.send(self.disconnect)
        self.socket.close()
        zmq.Context.instance().term()

    def reply(self, rest):
        expect(len(rest) >= 3 and rest[1] == b"", "not address, empty, body", rest)
        address, body = rest[0], rest[2:]
        if body[0] == b"stream" and self.partial is not None:
            for frame in body[1:]:
                self.send(self.partial, address, b"", frame)
            body = body[:1]
        self.send(self.final, address, b"", *[frame.upper() for frame in body])


class Client:
    """Makes calls, one after the other, and gives the messages that answer each."""

    def __init__(self, kind, endpoint, service):
        self.kind, self.service = kind, service
        dealer = kind.startswith("dealer")
        self.socket = zmq.Context.instance().socket(zmq.DEALER if dealer else zmq.REQ)
        secure(self.socket)
        if kind == "req-correlate":
            self.socket.setsockopt(zmq.REQ_CORRELATE, 1)
            self.socket.setsockopt(zmq.REQ_RELAXED, 1)
        self.socket.linger = 0
        self.socket.rcvtimeo = LIMIT_MS
        self.socket.connect(endpoint)
        # A REQ socket adds and removes the empty frame itself.
        self.head = {
            "req": [b"MDPC01"],
            "req-correlate": [b"MDPC01"],
            "dealer-0.1": [b"", b"MDPC01"],
            "dealer-0.2": [b"MDPC02"],
        }[kind]

    def call(self, body):
        if self.kind != "dealer-0.2":
            self.socket.send_multipart([*self.head, self.service, *body])
            return [["REPLY", *self.receive([])]]
        self.socket.send_multipart([*self.head, b"\x01", self.service, *body])
        answers = []
        while not answers or answers[-1][0] == "PARTIAL":
            answers.append(self.receive([b"\x02", b"\x03"]))
        return answers

    def receive(self, commands):
        message = self.socket.recv_multipart()
        head = len(self.head)
        expect(message[:head] == self.head, "not for this client", message)
        rest = message[head:]
        answer = []
        if commands:
            expect(rest[0] in commands, "no command of a broker", message)
            answer = [{b"\x02": "PARTIAL", b"\x03": "FINAL"}[rest.pop(0)]]
        expect(rest[0] == self.service and len(rest) > 1, "not service, body", message)
        return answer + [frame.decode() for frame in rest[1:]]


def main(role, *args):
    if role == "worker":
        version, endpoint, service, interval_ms = args
        worker = Worker(version, endpoint, service.encode(), int(interval_ms))
        signal.signal(signal.SIGTERM, worker.stop)
        worker.serve()
    elif role == "client":
        kind, endpoint, service, *bodies = args
        client = Client(kind, endpoint, service.encode())
        for body in bodies:
            answers = client.call([frame.encode() for frame in body.split(",")])
            print(json.dumps(answers), flush=True)
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
