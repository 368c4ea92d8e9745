// Twins: the stock device SDK on one side, the stock service SDK on the other.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const hub = require('./support/hub');
const fleet = require('./support/fleet');
const { Inbox, within } = require('./support/waiting');
const { watch } = require('./support/watch');

const report = (twin, patch) =>
  within(
    new Promise((resolve, reject) => {
      twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
    }),
    'reported.update',
  );

const getTwin = (client) => within(client.getTwin(), 'getTwin');

// A section without $version and without the SDK's own `update`.
function plain(section) {
  return JSON.parse(JSON.stringify({ ...section, $version: undefined, $metadata: undefined }));
}

async function reported(identity) {
  const twin = await hub.rest.getTwin(identity.device, identity.module);
  return plain(twin.properties.reported);
}

for (const transport of ['mqtt', 'ws', 'amqp', 'amqpws']) {
  for (const kind of [{}, { x509: true }, { module: 'm1' }]) {
    test(`there and back: ${transport} ${JSON.stringify(kind)}`, async (t) => {
      const identity = await fleet.register(kind);
      const client = await fleet.client(t, identity, transport);
      const twin = await getTwin(client);
      assert.deepEqual(plain(twin.properties.desired), {});
      assert.equal(twin.properties.desired.$version, 1);

      await report(twin, { battery: 55, sub: { a: 1, b: 'é 漢字' } });
      assert.deepEqual(await reported(identity), { battery: 55, sub: { a: 1, b: 'é 漢字' } });
      await report(twin, { battery: null, sub: { a: null } });
      assert.deepEqual(await reported(identity), { sub: { b: 'é 漢字' } });

      const { twin: live, changes } = await watch(client, identity);
      const { $version } = live.properties.desired;
      await hub.rest.patchDesired(identity.device, { rate: '5m' }, identity.module);
      assert.deepEqual(await changes.next(), { rate: '5m', $version: $version + 1 });
      assert.equal(live.properties.desired.rate, '5m');
    });
  }
}

test('the names of removed properties come as null', async (t) => {
  const identity = await fleet.register();
  await hub.rest.patchDesired(identity.device, { keep: 1, drop: 2, sub: { a: 1, b: 2 } });
  const { twin, changes } = await watch(await fleet.client(t, identity), identity);
  await hub.rest.patchDesired(identity.device, { drop: null, sub: { b: null } });
  const change = await changes.next();
  assert.equal(change.drop, null);
  assert.deepEqual(change.sub, { b: null });
  assert.equal(twin.properties.desired.drop, undefined);
  assert.deepEqual(twin.properties.desired.sub, { a: 1 });
});

test('clearing a whole section', async (t) => {
  const identity = await fleet.register();
  await hub.rest.patchDesired(identity.device, { a: 1, b: { c: 2 } });
  const { twin, changes } = await watch(await fleet.client(t, identity), identity);
  const before = twin.properties.desired.$version;
  await hub.rest.patchDesired(identity.device, null);
  const change = await changes.next();
  assert.equal(change.$version, before + 1);
  assert.deepEqual([change.a, change.b], [null, null]);
  assert.deepEqual(plain((await hub.rest.getTwin(identity.device)).properties.desired), {});
});

test('listeners of a single property', async (t) => {
  const identity = await fleet.register();
  const { twin } = await watch(await fleet.client(t, identity), identity);
  const inner = new Inbox('inner change');
  twin.on('properties.desired.a.b', inner.put);
  await hub.rest.patchDesired(identity.device, { other: 1 });
  await hub.rest.patchDesired(identity.device, { a: { b: 'deep' } });
  assert.equal(await inner.next(), 'deep');
});

for (const [name, patch] of Object.entries({
  'a dot in a key': { 'a.b': 1 },
  'null in an array': { a: [1, null] },
  'a text that is too long': { a: 'x'.repeat(5000) },
})) {
  test(`a bad report is an error: ${name}`, async (t) => {
    const identity = await fleet.register();
    const twin = await getTwin(await fleet.client(t, identity));
    await assert.rejects(report(twin, { good: 1, ...patch }), (error) => {
      assert.doesNotMatch(error.message, /not within/);
      assert.ok(error.message.length > 0);
      return true;
    });
    assert.deepEqual(await reported(identity), {});
    await report(twin, { fine: 1 });
    assert.deepEqual(await reported(identity), { fine: 1 });
  });
}

test('the service side', async (t) => {
  const identity = await fleet.register();
  const registry = hub.registry();
  const { responseBody: twin } = await within(registry.getTwin(identity.device), 'getTwin');
  assert.equal(twin.etag, 'AAAAAAAAAAE=');
  assert.equal(twin.version, 2);
  const patch = { tags: { floor: 2 }, properties: { desired: { rate: 1 } } };
  await within(twin.update(patch), 'update'); // with the etag that was read
  assert.equal(twin.properties.desired.rate, 1);
  assert.notEqual(twin.etag, 'AAAAAAAAAAE=');

  const stale = registry.updateTwin(identity.device, { tags: { floor: 3 } }, 'AAAAAAAAAAE=');
  await assert.rejects(within(stale, 'stale update'), { name: 'InvalidEtagError' });
  await within(registry.updateTwin(identity.device, { tags: { floor: 4 } }, '*'), 'forced update');
  const { responseBody: read } = await within(registry.getTwin(identity.device), 'getTwin');
  assert.deepEqual(read.tags, { floor: 4 });

  const client = await fleet.client(t, identity);
  assert.equal((await getTwin(client)).properties.desired.rate, 1);
});

test('the service side of a module', async () => {
  const { device } = await fleet.register({ module: 'm1' });
  const registry = hub.registry();
  const patch = { properties: { desired: { rate: 1 } } };
  await within(registry.updateModuleTwin(device, 'm1', patch, '*'), 'updateModuleTwin');
  const { responseBody: twin } = await within(
    registry.getModuleTwin(device, 'm1'),
    'getModuleTwin',
  );
  assert.equal(twin.moduleId, 'm1');
  assert.equal(twin.properties.desired.rate, 1);
  assert.equal((await hub.rest.getTwin(device)).properties.desired.rate, undefined);
});

test('the twin of nobody', async () => {
  const lookup = hub.registry().getTwin('no-such-device');
  await assert.rejects(within(lookup, 'getTwin'), { name: 'DeviceNotFoundError' });
});
