// Telemetry of the stock Node SDK, read back from the hub's event log.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const hub = require('./support/hub');
const fleet = require('./support/fleet');
const { Message } = require('./support/sdk');
const { within } = require('./support/waiting');

const AWKWARD = {
  plain: 'value',
  'a&b': 'c=d&e',
  'sl/ash': '/x//y/',
  'plus+': '1+1 = 2',
  'per%cent': '100%25',
  ключ: 'é 漢字 🚀',
  'left~alone': "~*'()!",
};
// Over HTTP properties are headers, with a smaller alphabet and no case of names.
const PLAIN = { plain: 'value', other: "1+1#$%&'*-.^_`|~" };

async function sendAndRead(t, transport, identity, message) {
  const reader = await hub.api.reader();
  const client = await fleet.client(t, identity, transport);
  await within(client.sendEvent(message), 'sendEvent');
  return reader.one(identity.device);
}

const LINKS = [
  ['mqtt', {}],
  ['mqtt', { x509: true }],
  ['mqtt', { module: 'm1' }],
  ['ws', {}],
  ['ws', { x509: true }],
  ['ws', { module: 'm1' }],
  ['http', {}],
  ['http', { x509: true }],
  ['amqp', {}],
  ['amqp', { x509: true }],
  ['amqpws', {}],
];

for (const [transport, kind] of LINKS) {
  test(`a message arrives whole: ${transport} ${JSON.stringify(kind)}`, async (t) => {
    const identity = await fleet.register(kind);
    const properties = transport === 'http' ? PLAIN : AWKWARD;
    const message = new Message(JSON.stringify({ t: 21.5 }));
    message.messageId = 'm-1';
    message.correlationId = 'c-1';
    message.userId = 'user';
    message.contentType = 'application/json';
    message.contentEncoding = 'utf-8';
    for (const [name, value] of Object.entries(properties)) message.properties.add(name, value);

    const event = await sendAndRead(t, transport, identity, message);
    assert.equal(event.body.toString(), '{"t":21.5}');
    assert.deepEqual(event.properties, properties);
    assert.equal(event.module, kind.module);
    const expected = {
      'message-id': 'm-1',
      'correlation-id': 'c-1',
      // Over AMQP this SDK does not send it.
      'user-id': transport.startsWith('amqp') ? undefined : 'user',
      'content-type': 'application/json',
      'content-encoding': 'utf-8',
      'iothub-connection-auth-generation-id': identity.record.generationId,
    };
    const found = Object.fromEntries(
      Object.keys(expected).map((name) => [name, event.system[name]]),
    );
    assert.deepEqual(found, expected);
    const method = JSON.parse(event.system['iothub-connection-auth-method']);
    assert.equal(method.type, kind.x509 ? 'x509' : 'sas');
    assert.equal(method.scope, kind.module ? 'module' : 'device');
  });
}

const BODIES = {
  empty: Buffer.alloc(0),
  binary: Buffer.from([...Array(256).keys()]),
  '255K': Buffer.alloc(255 * 1024, 7),
};

for (const transport of Object.keys(fleet.TRANSPORTS)) {
  for (const [name, body] of Object.entries(BODIES)) {
    test(`any body: ${transport} ${name}`, async (t) => {
      const event = await sendAndRead(t, transport, await fleet.register(), new Message(body));
      assert.deepEqual(event.body, body);
      assert.deepEqual(event.properties, {});
    });
  }

  test(`order is kept: ${transport}`, async (t) => {
    const identity = await fleet.register();
    const reader = await hub.api.reader();
    const client = await fleet.client(t, identity, transport);
    for (let number = 0; number < 20; number++) await client.sendEvent(new Message(String(number)));
    const events = await reader.waitFor(identity.device, 20);
    assert.deepEqual(
      events.map((event) => Number(event.body)),
      [...Array(20).keys()],
    );
  });
}

test('many messages under way at once', async (t) => {
  const identity = await fleet.register();
  const reader = await hub.api.reader();
  const client = await fleet.client(t, identity);
  const numbers = [...Array(100).keys()];
  await within(
    Promise.all(numbers.map((number) => client.sendEvent(new Message(String(number))))),
    'acknowledgements',
  );
  const events = await reader.waitFor(identity.device, 100);
  assert.deepEqual(
    events.map((event) => Number(event.body)),
    numbers,
  );
});

test('a batch over HTTP', async (t) => {
  const identity = await fleet.register();
  const reader = await hub.api.reader();
  const client = await fleet.client(t, identity, 'http');
  const messages = ['one', 'two', 'three'].map((text) => new Message(text));
  messages[1].properties.add('key', 'value');
  await within(client.sendEventBatch(messages), 'sendEventBatch');
  const events = await reader.waitFor(identity.device, 3);
  assert.deepEqual(
    events.map((event) => event.body.toString()),
    ['one', 'two', 'three'],
  );
  assert.deepEqual(
    events.map((event) => event.properties),
    [{}, { key: 'value' }, {}],
  );
});

test('a batch that is too large is refused whole', async (t) => {
  const identity = await fleet.register();
  const reader = await hub.api.reader();
  const client = await fleet.client(t, identity, 'http');
  const messages = [1, 2, 3].map(() => new Message('x'.repeat(100 * 1024)));
  await assert.rejects(within(client.sendEventBatch(messages), 'sendEventBatch'), {
    name: 'MessageTooLargeError',
  });
  await client.sendEvent(new Message('after'));
  assert.equal((await reader.one(identity.device)).body.toString(), 'after');
});

test('the output of a module', async (t) => {
  const identity = await fleet.register({ module: 'm1' });
  const reader = await hub.api.reader();
  const client = await fleet.client(t, identity);
  const message = new Message('x');
  message.properties.add('a', 'b');
  await within(client.sendOutputEvent('out 1', message), 'sendOutputEvent');
  const event = await reader.one(identity.device);
  assert.equal(event.system['iothub-outputname'], 'out 1');
  assert.deepEqual(event.properties, { a: 'b' });
});

test('the model id of the connection', async (t) => {
  const identity = await fleet.register();
  const reader = await hub.api.reader();
  const modelId = 'dtmi:com:example:Thermostat;1';
  const client = await fleet.client(t, identity, 'mqtt', { modelId });
  const message = new Message('{}');
  message.properties.add('dt-subject', 'thermostat1');
  await within(client.sendEvent(message), 'sendEvent');
  const event = await reader.one(identity.device);
  assert.equal(event.system['dt-dataschema'], modelId);
  assert.equal(event.system['dt-subject'], 'thermostat1');
  assert.equal((await hub.rest.getTwin(identity.device)).modelId, modelId);
});
