// Lost connections under the stock Node SDK.
//
// It subscribes again to methods and messages, but never to twins: those rest on the hub's memory of
// the session.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const hub = require('./support/hub');
const fleet = require('./support/fleet');
const { Relay } = require('./support/relay');
const { Message, NoRetry } = require('./support/sdk');
const { Inbox, eventually, within } = require('./support/waiting');
const { watch } = require('./support/watch');

const PORTS = {
  mqtt: hub.mqttsPort,
  ws: hub.httpsPort,
  amqp: hub.amqpsPort,
  amqpws: hub.httpsPort,
};

async function subscriber(t, identity, transport, more) {
  const client = await fleet.client(t, identity, transport, more);
  const messages = new Inbox('message');
  client.on('message', (message) => {
    messages.put(message);
    // Over MQTT the SDK acknowledges by itself; over AMQP what is not completed comes again.
    client.complete(message).catch(() => {});
  });
  client.onDeviceMethod('echo', (request, response) => response.send(200, request.payload));
  const { changes } = await watch(client, identity);

  // Every way to the device works; the label keeps one round from passing for another.
  async function check(label) {
    const answer = await hub.rest.invoke(identity.device, 'echo', label, { connectTimeout: 10 });
    assert.deepEqual(answer, { status: 200, result: { status: 200, payload: label } });
    await hub.api.send(identity.device, label);
    assert.equal((await messages.next()).getData().toString(), label);
    await hub.rest.patchDesired(identity.device, { label });
    assert.equal((await changes.next()).label, label);
    await within(client.sendEvent(new Message(label)), 'sendEvent');
  }
  return { client, messages, check };
}

for (const transport of ['mqtt', 'ws', 'amqp', 'amqpws']) {
  test(`a cut connection: ${transport}`, async (t) => {
    const relay = await Relay.to(PORTS[transport], t);
    const identity = await fleet.register();
    const { check } = await subscriber(t, identity, transport, { relay });
    await check('before');
    for (const round of ['first', 'second']) {
      const before = relay.accepted;
      relay.drop();
      await eventually(() => relay.accepted > before, 'reconnect');
      await check(round);
    }
  });
}

test('messages of an outage', async (t) => {
  const relay = await Relay.to(hub.mqttsPort, t);
  const identity = await fleet.register();
  const { messages, check } = await subscriber(t, identity, 'mqtt', { relay });
  await check('before');
  relay.refuse();
  for (const text of ['a', 'b', 'c']) await hub.api.send(identity.device, text);
  relay.admit();
  const received = await messages.take(3, 20_000);
  assert.deepEqual(
    received.map((message) => message.getData().toString()),
    ['a', 'b', 'c'],
  );
  await check('after');
});

test('telemetry of an outage is sent afterwards', async (t) => {
  const relay = await Relay.to(hub.mqttsPort, t);
  const identity = await fleet.register();
  const reader = await hub.api.reader();
  const client = await fleet.client(t, identity, 'mqtt', { relay });
  relay.refuse();
  const sent = client.sendEvent(new Message('patient'));
  relay.admit();
  await within(sent, 'sendEvent', 20_000);
  assert.equal((await reader.one(identity.device)).body.toString(), 'patient');
});

test('twin changes arrive although the SDK did not subscribe again', async (t) => {
  const relay = await Relay.to(hub.mqttsPort, t);
  const identity = await fleet.register();
  const client = await fleet.client(t, identity, 'mqtt', { relay });
  const { heard } = await watch(client, identity);
  relay.drop();
  // Without listeners for anything else this SDK reconnects only for the next operation.
  await within(client.sendEvent(new Message('wake up')), 'sendEvent', 20_000);
  await heard();
  await within(client.getTwin(), 'getTwin');
});

test('the newest connection wins', async (t) => {
  const identity = await fleet.register();
  const older = await fleet.client(t, identity);
  older.setRetryPolicy(new NoRetry());
  const lost = new Inbox('disconnect');
  older.on('disconnect', lost.put);
  const { client, check } = await subscriber(t, identity, 'mqtt');
  const late = new Inbox('disconnect');
  client.on('disconnect', late.put);
  await lost.next();
  await check('newer');
  await late.staysEmpty(0);
});

test('a disabled device is dropped, and comes back when enabled', async (t) => {
  const relay = await Relay.to(hub.mqttsPort, t);
  const identity = await fleet.register();
  const { check } = await subscriber(t, identity, 'mqtt', { relay });
  await check('before');
  const before = relay.accepted;
  await hub.rest.updateIdentity(identity.device, { status: 'disabled' });
  await eventually(() => relay.accepted > before, 'the hub dropping it, and it trying again');
  await hub.rest.updateIdentity(identity.device, { status: 'enabled' });
  await check('after');
});

test('a new token keeps the session', async (t) => {
  const relay = await Relay.to(hub.mqttsPort, t);
  const identity = await fleet.register();
  const tokenRenewal = { tokenValidTimeInSeconds: 60, tokenRenewalMarginInSeconds: 56 };
  const { check } = await subscriber(t, identity, 'mqtt', { relay, tokenRenewal });
  await eventually(() => relay.accepted > 1, 'renewal after four seconds', 15_000);
  await check('renewed');
});
