"""The identity registry through the stock service SDK."""

import base64
import os
import uuid

import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import AuthenticationMechanism, ExportImportDevice

from support.refusal import refused


def new_id():
    return f"r-{uuid.uuid4().hex[:12]}"


def new_key():
    return base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def device(manager):
    """A device with generated keys."""
    return manager.create_device_with_sas(new_id(), None, None, "enabled")


def test_create_with_given_keys(manager):
    name, primary, secondary = new_id(), new_key(), new_key()
    created = manager.create_device_with_sas(
        name, primary, secondary, "disabled", status_reason="on the shelf"
    )
    for device in (created, manager.get_device(name)):
        assert device.device_id == name
        assert device.status == "disabled"
        assert device.status_reason == "on the shelf"
        assert device.authentication.type == "sas"
        assert device.authentication.symmetric_key.primary_key == primary
        assert device.authentication.symmetric_key.secondary_key == secondary
        assert device.connection_state == "Disconnected"
        assert device.cloud_to_device_message_count == 0
        assert device.etag and device.generation_id.isdecimal()


def test_create_with_generated_keys(device):
    keys = device.authentication.symmetric_key
    for key in (keys.primary_key, keys.secondary_key):
        assert 16 <= len(base64.b64decode(key, validate=True)) <= 64
    assert keys.primary_key != keys.secondary_key


@pytest.mark.parametrize("digits", [40, 64])
def test_create_with_thumbprints(manager, digits):
    name, primary, secondary = new_id(), "AB" * (digits // 2), "CD" * (digits // 2)
    manager.create_device_with_x509(name, primary, secondary, "enabled")
    authentication = manager.get_device(name).authentication
    assert authentication.type == "selfSigned"
    assert authentication.x509_thumbprint.primary_thumbprint.upper() == primary
    assert authentication.x509_thumbprint.secondary_thumbprint.upper() == secondary


def test_create_with_certificate_authority(manager):
    name = new_id()
    manager.create_device_with_certificate_authority(name, "enabled")
    assert manager.get_device(name).authentication.type == "certificateAuthority"


def test_create_twice(manager, device):
    with refused(409):
        manager.create_device_with_sas(device.device_id, None, None, "enabled")
    again = manager.get_device(device.device_id)
    assert (again.etag, again.generation_id) == (device.etag, device.generation_id)


def test_bad_input(manager):
    with refused(400):
        manager.create_device_with_sas("not/a name", None, None, "enabled")
    with refused(400):
        manager.create_device_with_sas("x" * 129, None, None, "enabled")
    with refused(400):
        manager.create_device_with_sas(new_id(), "not base64!", "not base64!", "enabled")
    with refused(400):
        manager.create_device_with_x509(new_id(), "too short", "too short", "enabled")


@pytest.mark.parametrize(
    "name", ["a%20x", "h#1", "q?x=1", "p+1", "a@b,c=d", "($'*)!", "Upper", "d:1;2"]
)
def test_ids_with_unusual_characters(manager, name):
    name = f"{name}-{new_id()}"
    manager.create_device_with_sas(name, None, None, "enabled")
    assert manager.get_device(name).device_id == name
    assert manager.get_twin(name).device_id == name
    manager.delete_device(name)
    with refused(404):
        manager.get_device(name)


def test_ids_are_case_sensitive(manager):
    name = new_id() + "a"
    manager.create_device_with_sas(name, None, None, "enabled")
    with refused(404):
        manager.get_device(name[:-1] + "A")


def test_update(manager, device):
    primary, secondary = new_key(), new_key()
    updated = manager.update_device_with_sas(
        device.device_id, device.etag, primary, secondary, "disabled", status_reason="lost"
    )
    assert updated.etag != device.etag
    assert updated.generation_id == device.generation_id
    stored = manager.get_device(device.device_id)
    assert (stored.status, stored.status_reason) == ("disabled", "lost")
    assert stored.authentication.symmetric_key.primary_key == primary
    assert stored.status_updated_time.year > 2000


def test_update_needs_the_current_etag(manager, device):
    arguments = (new_key(), new_key(), "enabled")
    manager.update_device_with_sas(device.device_id, device.etag, *arguments)
    with refused(412):
        manager.update_device_with_sas(device.device_id, device.etag, *arguments)
    manager.update_device_with_sas(device.device_id, None, *arguments)


def test_change_of_authentication(manager, device):
    manager.update_device_with_x509(device.device_id, device.etag, "AB" * 20, "CD" * 20, "enabled")
    assert manager.get_device(device.device_id).authentication.type == "selfSigned"
    manager.update_device_with_certificate_authority(device.device_id, None, "enabled")
    assert manager.get_device(device.device_id).authentication.type == "certificateAuthority"


def test_delete(manager, device):
    with refused(412):
        manager.delete_device(device.device_id, etag="MTIz")
    manager.delete_device(device.device_id, etag=device.etag)
    for lookup in (manager.get_device, manager.get_twin, manager.delete_device):
        with refused(404):
            lookup(device.device_id)


def test_recreated_device_is_another_one(manager, device):
    manager.update_twin(device.device_id, {"tags": {"old": 1}})
    manager.create_module_with_sas(device.device_id, "m1", "", None, None)
    manager.delete_device(device.device_id)
    again = manager.create_device_with_sas(device.device_id, None, None, "enabled")
    assert again.generation_id != device.generation_id
    assert manager.get_modules(device.device_id) == []
    assert "old" not in (manager.get_twin(device.device_id).tags or {})


def test_modules(manager, device):
    name = device.device_id
    primary = new_key()
    created = manager.create_module_with_sas(name, "m1", "me", primary, new_key())
    manager.create_module_with_x509(name, "m2", "", "AB" * 20, "CD" * 20)
    manager.create_module_with_certificate_authority(name, "m3", "")
    assert sorted(each.module_id for each in manager.get_modules(name)) == ["m1", "m2", "m3"]

    module = manager.get_module(name, "m1")
    assert (module.device_id, module.module_id, module.managed_by) == (name, "m1", "me")
    assert module.authentication.symmetric_key.primary_key == primary
    assert manager.get_module(name, "m2").authentication.type == "selfSigned"
    assert manager.get_module(name, "m3").authentication.type == "certificateAuthority"

    changed = manager.update_module_with_sas(name, "m1", "you", created.etag, new_key(), new_key())
    assert changed.managed_by == "you" and changed.etag != created.etag
    with refused(412):
        manager.update_module_with_sas(name, "m1", "you", created.etag, new_key(), new_key())
    with refused(409):
        manager.create_module_with_sas(name, "m1", "", None, None)
    with refused(412):
        manager.delete_module(name, "m1", etag="MTIz")
    manager.delete_module(name, "m1")
    with refused(404):
        manager.get_module(name, "m1")
    with refused(404):
        manager.create_module_with_sas(new_id(), "m1", "", None, None)


def test_edge_device_and_its_leaf(manager):
    edge = manager.create_device_with_sas(new_id(), None, None, "enabled", iot_edge=True)
    assert edge.capabilities.iot_edge is True
    assert edge.device_scope.startswith(f"ms-azure-iot-edge://{edge.device_id}-")
    leaf = manager.create_device_with_sas(
        new_id(), None, None, "enabled", device_scope=edge.device_scope
    )
    assert leaf.device_scope == edge.device_scope
    assert manager.get_device(leaf.device_id).parent_scopes == [edge.device_scope]
    modules = {each.module_id for each in manager.get_modules(edge.device_id)}
    assert modules == {"$edgeAgent", "$edgeHub"}


def test_list(manager):
    names = {
        manager.create_device_with_sas(new_id(), None, None, "enabled").device_id for _ in range(3)
    }
    listed = manager.get_devices(max_number_of_devices=1000)
    assert names <= {each.device_id for each in listed}
    assert len(manager.get_devices(max_number_of_devices=2)) == 2
    assert len(manager.get_devices()) >= 3


def test_statistics(manager, device):
    before = manager.get_device_registry_statistics()
    manager.create_device_with_sas(new_id(), None, None, "disabled")
    after = manager.get_device_registry_statistics()
    assert after.total_device_count == before.total_device_count + 1
    assert after.disabled_device_count == before.disabled_device_count + 1
    assert after.enabled_device_count == before.enabled_device_count


def test_connected_devices_are_counted(manager, fleet):
    before = manager.get_service_statistics().connected_device_count
    client = fleet.client(fleet.device())
    assert manager.get_service_statistics().connected_device_count == before + 1
    client.disconnect()


def bulk(name, mode, **fields):
    return ExportImportDevice(
        id=name, import_mode=mode, authentication=AuthenticationMechanism(type="sas"), **fields
    )


def test_bulk(manager):
    names = [new_id() for _ in range(20)]
    created = manager.bulk_create_or_update_devices([bulk(each, "create") for each in names])
    assert created.is_successful is True and not created.errors
    device = manager.get_device(names[0])
    assert device.authentication.symmetric_key.primary_key

    update = [bulk(each, "update", status="disabled") for each in names[:5]]
    assert manager.bulk_create_or_update_devices(update).is_successful
    assert manager.get_device(names[4]).status == "disabled"
    assert manager.get_device(names[5]).status == "enabled"

    twins = [bulk(names[0], "updateTwin", tags={"place": "roof"})]
    assert manager.bulk_create_or_update_devices(twins).is_successful
    assert manager.get_twin(names[0]).tags == {"place": "roof"}

    delete = [bulk(each, "delete") for each in names]
    assert manager.bulk_create_or_update_devices(delete).is_successful
    for each in names:
        with refused(404):
            manager.get_device(each)


def test_bulk_reports_each_failure(manager, device):
    fresh = new_id()
    result = manager.bulk_create_or_update_devices(
        [bulk(device.device_id, "create"), bulk(fresh, "create"), bulk(new_id(), "update")]
    )
    assert result.is_successful is False
    assert len(result.errors) == 2
    assert result.errors[0].device_id == device.device_id
    assert manager.get_device(device.device_id).etag == device.etag


def test_wrong_policy_key(hub, manager):
    text = hub.sdk_connection_string()
    name = text.split("SharedAccessKey=")[0] + f"SharedAccessKey={new_key()}"
    with refused(401):
        IoTHubRegistryManager.from_connection_string(name).get_devices()


RIGHTS = {
    "iothubowner": (True, True, True),
    "registryRead": (True, False, False),
    "registryReadWrite": (True, True, False),
    "service": (False, False, True),
    "device": (False, False, False),
}


@pytest.mark.parametrize("policy", RIGHTS)
def test_rights_of_the_default_policies(hub, manager, device, policy):
    text = hub.sdk_connection_string(None if policy == "iothubowner" else policy)
    other = IoTHubRegistryManager.from_connection_string(text)
    reads, writes, serves = RIGHTS[policy]
    actions = [
        (reads, lambda: other.get_device(device.device_id)),
        (writes, lambda: other.create_device_with_sas(new_id(), None, None, "enabled")),
        (serves, lambda: other.get_twin(device.device_id)),
    ]
    for allowed, action in actions:
        if allowed:
            action()
        else:
            with refused(401):
                action()
