// The event log, read by the stock Event Hubs client.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const hub = require('./support/hub');
const fleet = require('./support/fleet');
const { Relay } = require('./support/relay');
const { Message, WebSocket, eventHubs } = require('./support/sdk');
const { Inbox, eventually, within } = require('./support/waiting');

const { EventHubConsumerClient, earliestEventPosition, latestEventPosition } = eventHubs;
const GROUP = '$Default';

function message(text, fields = {}) {
  return Object.assign(new Message(text), fields);
}

function options(transport, port) {
  const text = hub.eventHubConnectionString;
  if (transport === 'ws') {
    const webSocketOptions = { webSocket: WebSocket };
    return [text, { webSocketOptions, customEndpointAddress: `sb://localhost:${hub.httpsPort}` }];
  }
  return [text, port ? { customEndpointAddress: `sb://localhost:${port}` } : {}];
}

function consumer(t, { transport = 'tls', group = GROUP, port, text } = {}) {
  const [standard, found] = options(transport, port);
  const retryOptions = { maxRetries: 2, retryDelayInMs: 200, timeoutInMs: 10_000 };
  const client = new EventHubConsumerClient(group, text ?? standard, { retryOptions, ...found });
  t.after(() => within(client.close(), 'close', 5000).catch(() => {}));
  return client;
}

function collect(t, client, startPosition, more = {}, partition) {
  const events = new Inbox('event');
  const errors = new Inbox('error');
  const handlers = {
    processEvents: async (batch) => batch.forEach(events.put),
    processError: async (error) => errors.put(error),
  };
  const settings = { startPosition, maxWaitTimeInSeconds: 1, ...more };
  const subscription = partition
    ? client.subscribe(partition, handlers, settings)
    : client.subscribe(handlers, settings);
  t.after(() => within(subscription.close(), 'close', 5000).catch(() => {}));
  return { events, errors };
}

async function next(events, device) {
  for (;;) {
    const event = await events.next(20_000);
    if (event.systemProperties['iothub-connection-device-id'] === device) return event;
  }
}

for (const transport of ['tls', 'ws']) {
  test(`the log is read: ${transport}`, async (t) => {
    const identity = await fleet.register();
    const device = await fleet.client(t, identity, 'amqp');
    const sent = message(JSON.stringify({ t: 21.5 }), {
      messageId: 'm-1',
      correlationId: 'c-1',
      contentType: 'application/json',
      contentEncoding: 'utf-8',
    });
    sent.properties.add('k', 'v');
    await within(device.sendEvent(sent), 'sendEvent');
    const client = consumer(t, { transport });
    const described = await client.getEventHubProperties();
    assert.equal(described.name, hub.hostName);
    assert.deepEqual(described.partitionIds, await hub.api.partitions());
    const { events } = collect(t, client, earliestEventPosition);
    const event = await next(events, identity.device);
    assert.deepEqual(event.body, { t: 21.5 });
    assert.deepEqual(event.properties, { k: 'v' });
    assert.equal(event.messageId, 'm-1');
    assert.equal(event.correlationId, 'c-1');
    assert.equal(event.contentType, 'application/json');
    const system = event.systemProperties;
    assert.equal(system['iothub-message-source'], 'Telemetry');
    assert.match(system['iothub-connection-auth-method'], /"type":"sas"/);
    assert.equal(typeof event.sequenceNumber, 'number');
    assert.equal(event.offset, String(event.sequenceNumber));
    assert.ok(Math.abs(event.enqueuedTimeUtc - Date.now()) < 60_000);
  });
}

test('every position', async (t) => {
  const identity = await fleet.register();
  const device = await fleet.client(t, identity);
  const begun = new Date();
  for (const text of ['a', 'b', 'c']) await device.sendEvent(new Message(text));
  const read = async (position) => {
    // At most five may read a partition at once.
    const client = consumer(t);
    const found = await next(collect(t, client, position).events, identity.device);
    await within(client.close(), 'close');
    return found;
  };
  const { sequenceNumber, offset } = await read(earliestEventPosition);
  const body = async (position) => String((await read(position)).body);
  assert.equal(await body({ sequenceNumber }), 'b');
  assert.equal(await body({ sequenceNumber, isInclusive: true }), 'a');
  assert.equal(await body({ offset }), 'b');
  assert.equal(await body({ offset, isInclusive: true }), 'a');
  assert.equal(await body({ enqueuedOn: new Date(begun - 60_000) }), 'a');
});

test('the latest position', async (t) => {
  const identity = await fleet.register();
  const device = await fleet.client(t, identity);
  await device.sendEvent(new Message('before'));
  const { events } = collect(t, consumer(t), latestEventPosition);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await device.sendEvent(new Message('after'));
  assert.equal(String((await next(events, identity.device)).body), 'after');
});

test('a higher owner level takes the partition', async (t) => {
  const low = collect(t, consumer(t), earliestEventPosition, { ownerLevel: 1 }, '0');
  await new Promise((resolve) => setTimeout(resolve, 2000));
  collect(t, consumer(t), earliestEventPosition, { ownerLevel: 2 }, '0');
  const error = await low.errors.next(20_000);
  assert.match(`${error.code} ${error.message}`, /ReceiverDisconnected|stolen|epoch/i);
});

test('a reader comes back after a cut', async (t) => {
  const relay = await Relay.to(hub.amqpsPort, t);
  const identity = await fleet.register();
  const device = await fleet.client(t, identity);
  const { events } = collect(t, consumer(t, { port: relay.port }), earliestEventPosition);
  await device.sendEvent(new Message('one'));
  assert.equal(String((await next(events, identity.device)).body), 'one');
  const before = relay.accepted;
  relay.drop();
  await eventually(() => relay.accepted > before, 'reconnect', 30_000);
  await device.sendEvent(new Message('two'));
  assert.equal(String((await next(events, identity.device)).body), 'two');
});

test('what the last event is, beside each event', async (t) => {
  const identity = await fleet.register();
  const device = await fleet.client(t, identity);
  await device.sendEvent(new Message('x'));
  const client = consumer(t);
  const seen = new Inbox('event');
  const subscription = client.subscribe(
    {
      processEvents: async (batch, context) => {
        for (const event of batch) seen.put([event, context.lastEnqueuedEventProperties]);
      },
      processError: async () => {},
    },
    { startPosition: earliestEventPosition, trackLastEnqueuedEventProperties: true },
  );
  t.after(() => within(subscription.close(), 'close', 5000).catch(() => {}));
  const [event, last] = await seen.next(20_000);
  assert.ok(last.sequenceNumber >= event.sequenceNumber);
  assert.equal(last.offset, String(last.sequenceNumber));
});

test('readers with a wrong key', async (t) => {
  const text = hub.eventHubConnectionString.replace(/SharedAccessKey=[^;]*/, 'SharedAccessKey=AAAA');
  await assert.rejects(within(consumer(t, { text }).getEventHubProperties(), 'refusal', 30_000));
});
