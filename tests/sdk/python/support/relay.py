"""An HTTP CONNECT proxy that a test can cut, freeze or close.

It stands between an unmodified SDK and the hub: for hubs on other than the standard ports, and for
tests in which the network misbehaves. What passes through is TLS, so only whole directions can be
frozen, never single packets.
"""

import socket
import threading


class Relay:
    def __init__(self, routes):
        """`routes` maps the port that a client asks for to the address that it gets."""
        self.routes = routes
        self.accepted = 0
        self._admitting = True
        self._lock = threading.Lock()
        self._links = set()
        self._upward, self._downward = threading.Event(), threading.Event()
        self._upward.set()
        self._downward.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze_upward(self):
        """Nothing from clients reaches the hub any more, until the next `drop`."""
        self._upward.clear()

    def freeze_downward(self):
        """Nothing from the hub reaches clients any more, until the next `drop`."""
        self._downward.clear()

    def drop(self):
        """Cuts every connection; what was frozen is lost. New connections flow freely."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.close()
        self._upward.set()
        self._downward.set()

    def refuse(self):
        """Cuts every connection and every new one, until `admit`."""
        self._admitting = False
        self.drop()

    def admit(self):
        self._admitting = True

    def close(self):
        self._listener.close()
        self.refuse()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            address = self._introduction(client)
            if not self._admitting:
                client.close()
                return
            hub = socket.create_connection(address, timeout=5)
            hub.settimeout(None)
        except (OSError, KeyError):
            client.close()
            return
        link = Link(client, hub)
        with self._lock:
            self._links.add(link)
            self.accepted += 1
        if not self._admitting:
            link.close()
        pump = threading.Thread(target=link.pump, args=(hub, client, self._downward), daemon=True)
        pump.start()
        link.pump(client, hub, self._upward)
        with self._lock:
            self._links.discard(link)


    def _introduction(self, client):
        address = self.routes[read_connect(client)]
        # Said before it is known to be true: the SDK takes a proxy's refusal for final, and it
        # is a broken network that is to be shown to it.
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return address


class Forwarder(Relay):
    """The same without a word: for clients that can be told to connect elsewhere."""

    def __init__(self, address):
        super().__init__({None: address})

    def _introduction(self, client):
        return self.routes[None]


class Link:
    def __init__(self, client, hub):
        self.sockets = (client, hub)
        self.closed = False

    def pump(self, source, target, flowing):
        try:
            while data := source.recv(65536):
                flowing.wait()
                if self.closed:
                    return
                target.sendall(data)
        except OSError:
            pass
        finally:
            self.close()

    def close(self):
        self.closed = True
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()


def read_connect(client):
    """Reads `CONNECT host:port HTTP/1.1` and its headers; gives the port."""
    client.settimeout(10)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            raise OSError("the client went away")
        head += byte
    client.settimeout(None)
    verb, target, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
    if verb != b"CONNECT":
        raise OSError("not a CONNECT request")
    return int(target.rpartition(b":")[2])
