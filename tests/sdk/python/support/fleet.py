"""Identities with ids of their own, and stock SDK clients for them."""

import dataclasses
import threading
import uuid

from azure.iot.device import X509, IoTHubDeviceClient, IoTHubModuleClient, ProxyOptions

from . import certs
from .waiting import eventually


@dataclasses.dataclass
class Identity:
    device: str
    module: str | None
    record: dict
    certificate: certs.Certificate | None = None

    @property
    def key(self):
        return self.record["authentication"]["symmetricKey"]["primaryKey"]

    @property
    def secondary_key(self):
        return self.record["authentication"]["symmetricKey"]["secondaryKey"]

    @property
    def place(self):
        """The identity as the arguments of a service call."""
        return {"device": self.device, "module": self.module}

    def connection_string(self, host_name, key=None):
        text = f"HostName={host_name};DeviceId={self.device}"
        if self.module:
            text += f";ModuleId={self.module}"
        return f"{text};SharedAccessKey={key or self.key}"


class Fleet:
    """Makes identities and clients for one test, and shuts the clients down after it."""

    def __init__(self, hub, folder):
        self.hub = hub
        self.folder = folder
        self.clients = []

    def device(self, auth="sas", device=None, module=None, **fields):
        """Registers a device; with `module`, a device and a module of it, and gives the module."""
        device = device or f"d-{uuid.uuid4().hex[:12]}"
        certificate = None
        if auth == "x509":
            certificate = certs.make(self.folder, f"{device}/{module}" if module else device)
            fields["authentication"] = self_signed(certificate.sha1)
        if module:
            self.hub.rest.put_identity(device)
        record = self.hub.rest.put_identity(device, module, **fields)
        return Identity(device, module, record, certificate)

    def client(self, identity, relay=None, connect=True, key=None, **options):
        """An SDK client of an identity, connected unless told otherwise."""
        options = self.options(relay, **options)
        kind = IoTHubModuleClient if identity.module else IoTHubDeviceClient
        if identity.certificate:
            files = identity.certificate
            names = {"hostname": self.hub.host_name, "device_id": identity.device}
            if identity.module:
                names["module_id"] = identity.module
            x509 = X509(str(files.cert_file), str(files.key_file))
            client = kind.create_from_x509_certificate(x509, **names, **options)
        else:
            text = identity.connection_string(self.hub.host_name, key)
            client = kind.create_from_connection_string(text, **options)
        return self.adopt(client, connect)

    def client_with_token(self, token, connect=True, **options):
        client = IoTHubDeviceClient.create_from_sastoken(token, **self.options(None, **options))
        return self.adopt(client, connect)

    def options(self, relay, **options):
        relay = relay or self.hub.default_relay()
        if relay:
            options["proxy_options"] = ProxyOptions("HTTP", "127.0.0.1", relay.port)
        return {"server_verification_cert": self.hub.ca, "connection_retry_interval": 1, **options}

    def adopt(self, client, connect):
        self.clients.append(client)
        if connect:
            client.connect()
        return client

    def close(self):
        # The SDK's own shutdown waits for ever when a connection is in a bad way.
        endings = [
            threading.Thread(target=quietly, args=(each,), daemon=True) for each in self.clients
        ]
        for ending in endings:
            ending.start()
        for ending in endings:
            ending.join(10)


def quietly(client):
    try:
        client.shutdown()
    except Exception:  # whatever is wrong with it has been, or was meant to be, seen by the test
        pass


def self_signed(primary, secondary=None):
    prints = {"primaryThumbprint": primary, "secondaryThumbprint": secondary}
    return {"type": "selfSigned", "x509Thumbprint": prints}


def reconnected(client, relay, before):
    """Waits until a client is back through the relay after `before` accepted connections."""
    eventually(lambda: relay.accepted > before and client.connected, "reconnect", 15)
