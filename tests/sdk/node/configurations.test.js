// Configurations and digital twins through the stock Node service SDK.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const hub = require('./support/hub');
const fleet = require('./support/fleet');
const { within } = require('./support/waiting');

const registry = hub.registry();
const digital = hub.digitalTwinClient();
const run = crypto.randomUUID().slice(0, 8);
const names = Array.from({ length: 2 }, (_, number) => `cn-${run}-${number}`);

test.before(async () => {
  for (const deviceId of names) {
    await within(registry.create({ deviceId }), 'create');
  }
});

async function until(look, wanted) {
  const end = Date.now() + 30000;
  for (;;) {
    const found = await within(look(), 'look');
    if (wanted(found)) return found;
    assert.ok(Date.now() < end, JSON.stringify(found));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const desired = async (name) => (await registry.getTwin(name)).responseBody.properties.desired;
const read = async (id) => (await registry.getConfiguration(id)).responseBody;

test('a configuration lives', async () => {
  const content = { deviceContent: { 'properties.desired.chiller': { temp: 66 } } };
  const asked = {
    id: `n-${run}`,
    content,
    targetCondition: `deviceId IN [${names.map((name) => `'${name}'`).join(',')}]`,
    priority: 3,
    metrics: { queries: { cold: 'SELECT deviceId FROM devices WHERE tags.cold = true' } },
  };
  await within(registry.addConfiguration(asked), 'addConfiguration');
  const applied = (found) => found.systemMetrics.results.appliedCount === 2;
  const state = await until(() => read(asked.id), applied);
  assert.deepEqual(state.content, content);
  assert.deepEqual(state.metrics.results, { cold: 0 });
  assert.equal(state.schemaVersion, '1.0');
  for (const name of names) {
    assert.deepEqual((await desired(name)).chiller, { temp: 66 });
  }
  await assert.rejects(registry.addConfiguration(asked), { name: 'DeviceAlreadyExistsError' });
  state.targetCondition = `deviceId = '${names[0]}'`;
  await within(registry.updateConfiguration(state), 'updateConfiguration');
  await until(() => desired(names[1]), (found) => !('chiller' in found));
  await assert.rejects(registry.updateConfiguration(state), { name: 'InvalidEtagError' });
  await within(registry.updateConfiguration(state, true), 'updateConfiguration');
  const { responseBody: all } = await within(registry.getConfigurations(), 'getConfigurations');
  assert.ok(all.some((found) => found.id === asked.id));
  await within(registry.removeConfiguration(asked.id), 'removeConfiguration');
  await until(() => desired(names[0]), (found) => !('chiller' in found));
  await assert.rejects(read(asked.id));
});

test('a configuration without a target has no devices', async () => {
  const asked = { id: `e-${run}`, content: { deviceContent: {} }, targetCondition: '' };
  await within(registry.addConfiguration(asked), 'addConfiguration');
  const state = await read(asked.id);
  assert.deepEqual(state.systemMetrics.results, { targetedCount: 0, appliedCount: 0 });
  await within(registry.removeConfiguration(asked.id), 'removeConfiguration');
});

test('a content is applied to an edge device', async () => {
  const deviceId = `en-${run}`;
  await within(registry.create({ deviceId, capabilities: { iotEdge: true } }), 'create');
  const content = { modulesContent: { filter: { 'properties.desired': { limit: 25 } } } };
  await within(registry.applyConfigurationContentOnDevice(deviceId, content), 'apply');
  const { responseBody: twin } = await within(registry.getModuleTwin(deviceId, 'filter'), 'twin');
  assert.equal(twin.properties.desired.limit, 25);
});

test('a plug and play device is read, patched and commanded', async (t) => {
  const identity = await fleet.register();
  const modelId = 'dtmi:com:example:TemperatureController;1';
  const client = await fleet.client(t, identity, 'mqtt', { modelId });
  client.onDeviceMethod('thermostat1*getMaxMinReport', (request, response) => {
    response.send(202, { saw: request.payload });
  });
  const patch = [{ op: 'add', path: '/thermostat1/targetTemperature', value: 42 }];
  await within(digital.updateDigitalTwin(identity.device, patch), 'update');
  const twin = await within(digital.getDigitalTwin(identity.device), 'get');
  assert.equal(twin.$metadata.$model, modelId);
  assert.equal(twin.thermostat1.$metadata.targetTemperature.desiredValue, 42);
  assert.deepEqual((await desired(identity.device)).thermostat1, { __t: 'c', targetTemperature: 42 });
  const times = { connectTimeoutInSeconds: 10, responseTimeoutInSeconds: 10 };
  const answer = await within(
    digital.invokeComponentCommand(
      identity.device,
      'thermostat1',
      'getMaxMinReport',
      { since: 2020 },
      times,
    ),
    'command',
    25_000,
  );
  assert.equal(answer.xMsCommandStatuscode, 202);
  assert.deepEqual(answer.body, { saw: { since: 2020 } });
});
