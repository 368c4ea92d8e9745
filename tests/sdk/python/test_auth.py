"""Who may connect: keys, tokens, certificates, and what becomes of those who may not."""

import base64
import os
import threading

import pytest
from azure.iot.device.exceptions import ClientError, ConnectionFailedError, CredentialError

from support import certs, sas
from support.fleet import Fleet, Identity, self_signed
from support.hubd import Hubd
from support.waiting import eventually


def random_key():
    return base64.b64encode(os.urandom(32)).decode()


def test_wrong_key(fleet, transport):
    device = fleet.device()
    client = fleet.client(device, connect=False, key=random_key(), **transport)
    with pytest.raises(CredentialError):
        client.connect()


def test_unknown_device(fleet, transport):
    device = fleet.device()
    stranger = Identity(f"{device.device}-other", None, device.record)
    with pytest.raises(CredentialError):
        fleet.client(stranger, connect=False, **transport).connect()


def test_unknown_module(fleet):
    module = fleet.device(module="m1")
    stranger = Identity(module.device, "m2", module.record)
    with pytest.raises(CredentialError):
        fleet.client(stranger, connect=False).connect()


def test_keys_of_device_and_module_are_not_exchangeable(hub, fleet):
    module = fleet.device(module="m1")
    parent = Identity(module.device, None, hub.rest.get_identity(module.device))
    with pytest.raises(CredentialError):
        fleet.client(module, connect=False, key=parent.key).connect()
    with pytest.raises(CredentialError):
        fleet.client(parent, connect=False, key=module.key).connect()
    fleet.client(module)
    fleet.client(parent)


def test_secondary_key(fleet):
    device = fleet.device()
    assert device.secondary_key != device.key
    assert fleet.client(device, key=device.secondary_key).connected


def test_given_keys_are_kept(fleet):
    keys = {"primaryKey": random_key(), "secondaryKey": random_key()}
    device = fleet.device(authentication={"type": "sas", "symmetricKey": keys})
    assert device.key == keys["primaryKey"]
    assert fleet.client(device).connected


def test_changed_key(hub, fleet):
    device = fleet.device()
    keys = {"primaryKey": random_key(), "secondaryKey": random_key()}
    hub.rest.update_identity(device.device, authentication={"type": "sas", "symmetricKey": keys})
    with pytest.raises(CredentialError):
        fleet.client(device, connect=False).connect()
    assert fleet.client(device, key=keys["primaryKey"]).connected


def test_disabled_device(hub, fleet):
    """Refused as unavailable, not for its credentials: those are good."""
    device = fleet.device(status="disabled")
    with pytest.raises(ConnectionFailedError):
        fleet.client(device, connect=False).connect()
    hub.rest.update_identity(device.device, status="enabled")
    assert fleet.client(device).connected


def resource(hub, device):
    return f"{hub.host_name}/devices/{device.device}"


def test_ready_made_token(hub, fleet):
    device = fleet.device()
    client = fleet.client_with_token(sas.token(resource(hub, device), device.key))
    client.update_sastoken(sas.token(resource(hub, device), device.secondary_key, ttl=7200))
    eventually(lambda: client.connected, "connection with the new token")
    client.send_message("still here")


def test_tokens_of_policies(hub, fleet):
    device = fleet.device()
    for policy, welcome in (("device", True), ("service", False), ("registryReadWrite", False)):
        key = sas.parse_connection_string(hub.policies[policy])["SharedAccessKey"]
        token = sas.token(resource(hub, device), key, policy)
        client = fleet.client_with_token(token, connect=False)
        if welcome:
            client.connect()
            assert client.connected
            client.disconnect()
        else:
            with pytest.raises(CredentialError):
                client.connect()


def test_token_renewal_keeps_the_session(hub, fleet, transport):
    """With a life of 124 s the SDK renews after 4 s: it disconnects and comes back."""
    device = fleet.device()
    client = fleet.client(device, connect=False, sastoken_ttl=124, **transport)
    renewed, states = threading.Event(), []

    def changed():
        states.append(client.connected)
        if states.count(True) > 1:
            renewed.set()

    client.on_connection_state_change = changed
    client.connect()
    messages = []
    client.on_message_received = messages.append
    assert renewed.wait(15), f"no renewal: {states}"
    hub.api.send(device.device, b"after renewal")
    eventually(lambda: messages, "message in the renewed connection")
    assert messages[0].data == b"after renewal"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
@pytest.mark.parametrize("place", ["primary", "secondary"])
def test_thumbprints(fleet, tmp_path, algorithm, place, transport):
    mine, other = certs.make(tmp_path, "mine"), certs.make(tmp_path, "other")
    prints = {"primary": getattr(other, algorithm), "secondary": getattr(other, algorithm)}
    prints[place] = getattr(mine, algorithm)
    device = fleet.device(authentication=self_signed(**prints))
    device.certificate = mine
    assert fleet.client(device, **transport).connected


def test_thumbprint_in_lower_case(fleet, tmp_path):
    mine = certs.make(tmp_path, "mine")
    device = fleet.device(authentication=self_signed(mine.sha1.lower()))
    device.certificate = mine
    assert fleet.client(device).connected


def test_wrong_certificate(fleet, tmp_path, transport):
    device = fleet.device("x509")
    device.certificate = certs.make(tmp_path, device.device)
    with pytest.raises(CredentialError):
        fleet.client(device, connect=False, **transport).connect()


def test_key_does_not_open_a_certificate_device(fleet):
    device = fleet.device("x509")
    device.certificate = None
    with pytest.raises(CredentialError):
        fleet.client(device, connect=False, key=random_key()).connect()


def test_certificate_does_not_open_a_key_device(fleet, tmp_path):
    device = fleet.device()
    device.certificate = certs.make(tmp_path, device.device)
    with pytest.raises(CredentialError):
        fleet.client(device, connect=False).connect()


def test_certificate_authority(tmp_path):
    authority = certs.make(tmp_path, "Device authority", authority=True)
    root = certs.make(tmp_path, "Server authority", authority=True)
    server = certs.make(tmp_path, "localhost", issuer=root, server=True)
    flags = ["--tls-cert", server.cert_file, "--tls-key", server.key_file]
    flags = [str(each) for each in (*flags, "--client-ca", authority.cert_file)]
    with Hubd(*flags, ca_file=root.cert_file) as hub:
        fleet = Fleet(hub, tmp_path)
        try:
            device = fleet.device(authentication={"type": "certificateAuthority"})
            device.certificate = certs.make(tmp_path, device.device, issuer=authority)
            reader = hub.api.reader()
            fleet.client(device).send_message("signed by the authority")
            method = reader.one(device.device).system["iothub-connection-auth-method"]
            assert '"x509"' in method

            device.certificate = certs.make(tmp_path, "another-name", issuer=authority)
            with pytest.raises(CredentialError):
                fleet.client(device, connect=False).connect()
            device.certificate = certs.make(tmp_path, device.device)
            with pytest.raises(ClientError):
                fleet.client(device, connect=False).connect()

            plain = fleet.device()
            assert fleet.client(plain).connected, "keys still work beside an authority"
        finally:
            fleet.close()
