// Who may connect, as the stock Node SDK reports it.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const hub = require('./support/hub');
const fleet = require('./support/fleet');
const { sasToken } = require('./support/rest');
const { DeviceClient, Message } = require('./support/sdk');
const { within } = require('./support/waiting');

const PUSHED = ['mqtt', 'ws', 'amqp', 'amqpws'];
const randomKey = () => crypto.randomBytes(32).toString('base64');

// This SDK calls every failure to connect unauthorized, so the hub's own word has to be in it.
const NOT_AUTHORIZED = { name: 'UnauthorizedError', message: /Connection refused: Not authorized/ };
// Over AMQP there is a word for it, so the SDK's own says enough.
const refusal = (transport) =>
  transport.startsWith('amqp') ? { name: 'UnauthorizedError' } : NOT_AUTHORIZED;

async function closed(t, identity, transport) {
  return fleet.client(t, identity, transport, { open: false });
}

for (const transport of PUSHED) {
  test(`a wrong key: ${transport}`, async (t) => {
    const identity = { ...(await fleet.register()), key: randomKey() };
    const client = await closed(t, identity, transport);
    await assert.rejects(within(client.open(), 'open'), refusal(transport));
  });

  test(`an unknown device: ${transport}`, async (t) => {
    const client = await closed(t, { device: 'no-such-device', key: randomKey() }, transport);
    await assert.rejects(within(client.open(), 'open'), refusal(transport));
  });

  test(`a wrong certificate: ${transport}`, async (t) => {
    const identity = await fleet.register({ x509: true });
    identity.certificate = fleet.selfSigned(identity.device);
    const client = await closed(t, identity, transport);
    // Over AMQP a certificate is judged when something is asked for.
    const asked = client.open().then(() => client.sendEvent(new Message('x')));
    await assert.rejects(within(asked, 'open'), refusal(transport));
  });
}

// HTTP has no connection: what is wrong shows with the first message.
async function sendOverHttp(t, identity) {
  const client = await fleet.client(t, identity, 'http');
  return within(client.sendEvent(new Message('x')), 'sendEvent');
}

test('a wrong key over HTTP', async (t) => {
  const identity = { ...(await fleet.register()), key: randomKey() };
  await assert.rejects(sendOverHttp(t, identity), { name: 'UnauthorizedError' });
});

test('an unknown device over HTTP', async (t) => {
  const identity = { device: 'no-such-device', key: randomKey() };
  await assert.rejects(sendOverHttp(t, identity), { name: 'DeviceNotFoundError' });
});

test('a wrong certificate over HTTP', async (t) => {
  const identity = await fleet.register({ x509: true });
  identity.certificate = fleet.selfSigned(identity.device);
  await assert.rejects(sendOverHttp(t, identity), { name: 'UnauthorizedError' });
});

function withToken(t, identity, transport, ttl) {
  const token = sasToken(
    `${hub.hostName}/devices/${identity.device}`,
    identity.key,
    undefined,
    ttl,
  );
  const made = DeviceClient.fromSharedAccessSignature(token, fleet.TRANSPORTS[transport]);
  return fleet.adopt(t, made, transport, { open: false });
}

test('an expired token over HTTP', async (t) => {
  const client = await withToken(t, await fleet.register(), 'http', -3600);
  const sent = within(
    client.open().then(() => client.sendEvent(new Message('x'))),
    'sendEvent',
  );
  await assert.rejects(sent, { name: 'UnauthorizedError' });
});

test('a ready-made token', async (t) => {
  // With a port of its own the SDK would want it in the token's host name.
  if (hub.mqttsPort !== 8883) return t.skip('the standard MQTT port was not to be had');
  const identity = await fleet.register();
  const good = await withToken(t, identity, 'mqtt', 3600);
  await within(good.open(), 'open');
  await within(good.sendEvent(new Message('x')), 'sendEvent');
  const expired = await withToken(t, identity, 'mqtt', -3600);
  await assert.rejects(within(expired.open(), 'open'), NOT_AUTHORIZED);
});

test('a disabled device is kept waiting, not turned away', async (t) => {
  const identity = await fleet.register({ status: 'disabled' });
  const client = await closed(t, identity, 'mqtt');
  let settled = false;
  const opened = client.open().finally(() => (settled = true));
  opened.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.equal(settled, false, 'the SDK must go on trying');
  await hub.rest.updateIdentity(identity.device, { status: 'enabled' });
  await within(opened, 'open after enabling', 20_000);
  await within(client.sendEvent(new Message('x')), 'sendEvent');
});

test('the secondary key', async (t) => {
  const identity = await fleet.register();
  identity.key = identity.record.authentication.symmetricKey.secondaryKey;
  for (const transport of Object.keys(fleet.TRANSPORTS)) {
    const client = await fleet.client(t, identity, transport);
    await within(client.sendEvent(new Message('x')), 'sendEvent');
  }
});
