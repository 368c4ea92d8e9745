import pytest
from azure.iot.hub import IoTHubRegistryManager

from support.fleet import Fleet
from support.hubd import Hubd
from support.relay import Relay

# Every way a stock Python client can come in.
TRANSPORTS = {"mqtt": {"websockets": False}, "ws": {"websockets": True}}
IDENTITIES = {
    "device-sas": {},
    "device-x509": {"auth": "x509"},
    "module-sas": {"module": "m1"},
    "module-x509": {"module": "m1", "auth": "x509"},
}


@pytest.fixture(scope="module")
def hub():
    """One hub for all tests of a file; tests keep apart by the ids of their devices."""
    with Hubd() as hubd:
        yield hubd


@pytest.fixture
def fleet(hub, tmp_path):
    fleet = Fleet(hub, tmp_path)
    yield fleet
    fleet.close()


@pytest.fixture
def relay(hub):
    relay = Relay(hub.routes())
    yield relay
    relay.close()


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    """The client options of a transport."""
    return TRANSPORTS[request.param]


@pytest.fixture(params=IDENTITIES)
def identity(request, fleet):
    """A device or module, of each kind of credentials."""
    return fleet.device(**IDENTITIES[request.param])


@pytest.fixture
def manager(hub, monkeypatch):
    """The stock service SDK, with all rights."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", hub.ca_file)
    return IoTHubRegistryManager.from_connection_string(hub.sdk_connection_string())
