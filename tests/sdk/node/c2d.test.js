// Cloud-to-device messages, received by the stock Node SDK.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const hub = require('./support/hub');
const fleet = require('./support/fleet');
const { Inbox, eventually, within } = require('./support/waiting');

const PUSHED = ['mqtt', 'ws', 'amqp', 'amqpws'];

function listen(client) {
  const inbox = new Inbox('cloud-to-device message');
  client.on('message', inbox.put);
  return inbox;
}

const own = (message) =>
  Object.fromEntries(message.properties.propertyList.map(({ key, value }) => [key, value]));

for (const transport of PUSHED) {
  test(`a message arrives whole: ${transport}`, async (t) => {
    const identity = await fleet.register();
    const client = await fleet.client(t, identity, transport);
    const inbox = listen(client);
    const properties = { plain: 'value', amp: 'a&b', percent: '100%25', plus: '1+1' };
    await hub.api.send(identity.device, 'тело', {
      messageId: 'm:1',
      correlationId: 'c-1',
      userId: 'operator',
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      ack: 'full',
      properties,
    });
    const message = await inbox.next();
    assert.equal(message.getData().toString(), 'тело');
    assert.equal(message.messageId, 'm:1');
    assert.equal(message.correlationId, 'c-1');
    // Over AMQP this SDK does not read it.
    if (!transport.startsWith('amqp')) assert.equal(message.userId, 'operator');
    assert.equal(message.contentType, 'application/json');
    assert.equal(message.contentEncoding, 'utf-8');
    assert.equal(
      message.to.toLowerCase(),
      `/devices/${identity.device}/messages/devicebound`.toLowerCase(),
    );
    // This SDK hands the wish for feedback on as a property like any other, but over AMQP.
    const wish = transport.startsWith('amqp') ? {} : { 'iothub-ack': 'full' };
    assert.deepEqual(own(message), { ...properties, ...wish });
    await within(client.complete(message), 'complete');
    await eventually(async () => (await hub.api.depth(identity.device)) === 0, 'completion');
  });

  test(`a bare message: ${transport}`, async (t) => {
    const identity = await fleet.register();
    const inbox = listen(await fleet.client(t, identity, transport));
    await hub.api.send(identity.device);
    const message = await inbox.next();
    assert.equal(message.getData().length, 0);
    assert.deepEqual(own(message), {});
  });

  test(`messages wait for the device: ${transport}`, async (t) => {
    const identity = await fleet.register();
    for (const text of ['a', 'b', 'c']) await hub.api.send(identity.device, text);
    const inbox = listen(await fleet.client(t, identity, transport));
    const messages = await inbox.take(3);
    assert.deepEqual(
      messages.map((message) => message.getData().toString()),
      ['a', 'b', 'c'],
    );
  });
}

async function poll(t, identity) {
  const client = await fleet.client(t, identity, 'http');
  return { client, inbox: listen(client) };
}

test('a message polled over HTTP', async (t) => {
  const identity = await fleet.register();
  await hub.api.send(identity.device, 'hello', {
    messageId: 'm1',
    correlationId: 'c1',
    properties: { k: 'v' },
  });
  const { client, inbox } = await poll(t, identity);
  const message = await inbox.next();
  assert.equal(message.getData().toString(), 'hello');
  assert.equal(message.messageId, 'm1');
  assert.equal(message.correlationId, 'c1');
  assert.equal(
    message.to.toLowerCase(),
    `/devices/${identity.device}/messages/devicebound`.toLowerCase(),
  );
  assert.ok(message.lockToken && !message.lockToken.includes('"'));
  assert.deepEqual(own(message), { 'iothub-app-k': 'v' }); // the SDK keeps the prefix

  assert.equal(await hub.api.depth(identity.device), 1);
  await within(client.complete(message), 'complete');
  assert.equal(await hub.api.depth(identity.device), 0);
  await assert.rejects(within(client.complete(message), 'second complete'), (error) => {
    assert.equal(error.response.statusCode, 412);
    return true;
  });
});

test('an abandoned message comes again', async (t) => {
  const identity = await fleet.register();
  await hub.api.send(identity.device, 'again', { messageId: 'm1' });
  const { client, inbox } = await poll(t, identity);
  const first = await inbox.next();
  await within(client.abandon(first), 'abandon');
  const second = await inbox.next();
  assert.equal(second.messageId, 'm1');
  assert.notEqual(second.lockToken, first.lockToken);
  await within(client.complete(second), 'complete');
  assert.equal(await hub.api.depth(identity.device), 0);
});

test('a rejected message is gone', async (t) => {
  const identity = await fleet.register();
  await hub.api.send(identity.device, 'unwanted');
  const { client, inbox } = await poll(t, identity);
  await within(client.reject(await inbox.next()), 'reject');
  assert.equal(await hub.api.depth(identity.device), 0);
  await inbox.staysEmpty(1500);
});

test('polling drains the queue, and locked messages are not repeated', async (t) => {
  const identity = await fleet.register();
  for (const text of ['a', 'b', 'c']) await hub.api.send(identity.device, text);
  const { client, inbox } = await poll(t, identity);
  const messages = await inbox.take(3);
  assert.deepEqual(
    messages.map((message) => message.getData().toString()),
    ['a', 'b', 'c'],
  );
  await inbox.staysEmpty(1500);
  for (const message of messages) await within(client.complete(message), 'complete');
  assert.equal(await hub.api.depth(identity.device), 0);
});

test('what HTTP holds a lock on, MQTT does not get', async (t) => {
  const identity = await fleet.register();
  await hub.api.send(identity.device, 'locked');
  const { client, inbox } = await poll(t, identity);
  const message = await inbox.next();
  client.removeAllListeners('message');
  const pushed = listen(await fleet.client(t, identity, 'mqtt'));
  await hub.api.send(identity.device, 'free');
  assert.equal((await pushed.next()).getData().toString(), 'free');
  await within(client.abandon(message), 'abandon');
  assert.equal((await pushed.next()).getData().toString(), 'locked');
});

test('over MQTT only completing is possible', async (t) => {
  const identity = await fleet.register();
  const client = await fleet.client(t, identity);
  const inbox = listen(client);
  await hub.api.send(identity.device, 'x');
  const message = await inbox.next();
  await assert.rejects(within(client.abandon(message), 'abandon'), { name: 'NotImplementedError' });
});
