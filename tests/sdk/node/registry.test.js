// The identity registry through the stock Node service SDK.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const hub = require('./support/hub');
const { Registry } = require('./support/sdk');
const { within } = require('./support/waiting');

const registry = hub.registry();
const newId = () => `s-${crypto.randomUUID().slice(0, 13)}`;
const newKey = () => crypto.randomBytes(32).toString('base64');

// Calls the registry and gives the body of the answer.
async function ask(method, ...args) {
  const answer = await within(registry[method](...args), method);
  return answer.responseBody ?? answer;
}

const refused = (promise, name) => assert.rejects(within(promise, 'refusal'), { name });

test('create, get, update, delete', async () => {
  const deviceId = newId();
  const created = await ask('create', { deviceId });
  assert.equal(created.deviceId, deviceId);
  assert.equal(created.status, 'enabled');
  const keys = created.authentication.symmetricKey;
  assert.equal(Buffer.from(keys.primaryKey, 'base64').toString('base64'), keys.primaryKey);
  assert.notEqual(keys.primaryKey, keys.secondaryKey);

  const read = await ask('get', deviceId);
  assert.equal(read.etag, created.etag);
  assert.equal(read.authentication.symmetricKey.primaryKey, keys.primaryKey);

  const primaryKey = newKey();
  const changed = await ask('update', {
    deviceId,
    status: 'disabled',
    statusReason: 'gone fishing',
    authentication: { type: 'sas', symmetricKey: { primaryKey, secondaryKey: newKey() } },
  });
  assert.equal(changed.status, 'disabled');
  assert.equal((await ask('get', deviceId)).authentication.symmetricKey.primaryKey, primaryKey);

  await ask('delete', deviceId);
  await refused(registry.get(deviceId), 'DeviceNotFoundError');
});

test('thumbprints without a type make a self-signed device', async () => {
  const deviceId = newId();
  const x509Thumbprint = {
    primaryThumbprint: 'AB'.repeat(20),
    secondaryThumbprint: 'CD'.repeat(20),
  };
  await ask('create', { deviceId, authentication: { x509Thumbprint } });
  const { authentication } = await ask('get', deviceId);
  assert.equal(authentication.type, 'selfSigned');
  assert.equal(authentication.x509Thumbprint.primaryThumbprint.toUpperCase(), 'AB'.repeat(20));
});

test('errors have the names that applications look for', async () => {
  const deviceId = newId();
  await ask('create', { deviceId });
  await refused(registry.create({ deviceId }), 'DeviceAlreadyExistsError');
  await refused(registry.get('no-such-device'), 'DeviceNotFoundError');
  await refused(registry.delete('no-such-device'), 'DeviceNotFoundError');
  await refused(registry.create({ deviceId: 'not/a name' }), 'ArgumentError');
  const broken = hub.serviceConnectionString.replace(
    /SharedAccessKey=.*/,
    `SharedAccessKey=${newKey()}`,
  );
  const stranger = Registry.fromConnectionString(broken);
  if (hub.httpsPort !== 443) stranger._restApiClient.setOptions({ http: { agent: hub.agent() } });
  await refused(stranger.get(deviceId), 'UnauthorizedError');
});

test('an error tells which device', async () => {
  const name = newId();
  await assert.rejects(within(registry.get(name), 'get'), (error) => {
    assert.equal(error.response.headers['iothub-errorcode'], 'DeviceNotFound');
    assert.ok(error.message.includes(name), error.message);
    return true;
  });
});

test('list', async () => {
  const names = [newId(), newId()];
  for (const deviceId of names) await ask('create', { deviceId });
  const listed = (await ask('list')).map((device) => device.deviceId);
  for (const name of names) assert.ok(listed.includes(name));
});

test('in bulk', async () => {
  const devices = [...Array(10)].map(() => ({ deviceId: newId() }));
  const added = await ask('addDevices', devices);
  assert.deepEqual([added.isSuccessful, added.errors], [true, []]);
  const disabled = devices.map((device) => ({ ...device, status: 'disabled' }));
  assert.equal((await ask('updateDevices', disabled, true)).isSuccessful, true);
  assert.equal((await ask('get', devices[9].deviceId)).status, 'disabled');
  assert.equal((await ask('removeDevices', devices, true)).isSuccessful, true);
  await refused(registry.get(devices[0].deviceId), 'DeviceNotFoundError');
});

test('modules', async () => {
  const deviceId = newId();
  await ask('create', { deviceId });
  const created = await ask('addModule', { deviceId, moduleId: 'm1', managedBy: 'me' });
  assert.equal(created.moduleId, 'm1');
  assert.equal(created.managedBy, 'me');
  const read = await ask('getModule', deviceId, 'm1');
  assert.ok(read.authentication.symmetricKey.primaryKey);
  assert.deepEqual(
    (await ask('getModulesOnDevice', deviceId)).map((each) => each.moduleId),
    ['m1'],
  );

  const changed = await ask('updateModule', { ...read, managedBy: 'you' });
  assert.equal(changed.managedBy, 'you');
  await refused(registry.updateModule({ ...read, managedBy: 'they' }), 'InvalidEtagError');
  await ask('updateModule', { ...read, managedBy: 'all' }, true);
  await refused(registry.addModule({ deviceId, moduleId: 'm1' }), 'DeviceAlreadyExistsError');
  await ask('removeModule', deviceId, 'm1');
  assert.deepEqual(await ask('getModulesOnDevice', deviceId), []);
});

test('statistics', async () => {
  const before = await ask('getRegistryStatistics');
  await ask('create', { deviceId: newId(), status: 'disabled' });
  const after = await ask('getRegistryStatistics');
  // Other files create devices at the same time.
  assert.ok(after.totalDeviceCount > before.totalDeviceCount);
  assert.equal(after.totalDeviceCount, after.enabledDeviceCount + after.disabledDeviceCount);
});

test('an edge device and its leaf', async () => {
  const edge = await ask('create', { deviceId: newId(), capabilities: { iotEdge: true } });
  assert.ok(edge.deviceScope.startsWith(`ms-azure-iot-edge://${edge.deviceId}-`));
  const leaf = await ask('create', { deviceId: newId(), deviceScope: edge.deviceScope });
  assert.equal(leaf.deviceScope, edge.deviceScope);
});

test('a policy without the right is refused', async () => {
  const deviceId = newId();
  await ask('create', { deviceId });
  const reader = hub.registry('registryRead');
  await within(reader.get(deviceId), 'get');
  await refused(reader.create({ deviceId: newId() }), 'UnauthorizedError');
  await refused(hub.registry('device').get(deviceId), 'UnauthorizedError');
});
