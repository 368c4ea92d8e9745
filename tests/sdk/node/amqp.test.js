// Back ends over AMQP: the stock service client.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const hub = require('./support/hub');
const fleet = require('./support/fleet');
const { Message } = require('./support/sdk');
const { SERVICE, servable, serviceClient, receiver } = require('./support/backend');
const { Inbox, within } = require('./support/waiting');

function message(text, fields = {}) {
  return Object.assign(new Message(text), fields);
}

for (const transport of Object.keys(SERVICE)) {
  test(`messages, refusals and feedback: ${transport}`, async (t) => {
    if (!servable[transport]) return t.skip('port 443 was not to be had');
    const identity = await fleet.register();
    const client = await serviceClient(t, transport);
    await within(client.open(), 'open');
    const feedback = new Inbox('feedback');
    const hears = await receiver(client, 'getFeedbackReceiver');
    hears.on('message', (batch) => {
      for (const record of JSON.parse(batch.getData().toString())) feedback.put(record);
      hears.complete(batch, () => {});
    });
    const device = await fleet.client(t, identity, 'amqp');
    const inbox = new Inbox('message');
    device.on('message', inbox.put);
    const sent = message('hello', { messageId: 'm-1', ack: 'full', correlationId: 'c' });
    sent.properties.add('a', 'b');
    await within(client.send(identity.device, sent), 'send');
    const got = await inbox.next();
    assert.equal(got.getData().toString(), 'hello');
    assert.equal(got.messageId, 'm-1');
    await within(device.complete(got), 'complete');

    await assert.rejects(within(client.send('no-such-device', message('x')), 'send'), {
      name: 'DeviceNotFoundError',
    });
    await assert.rejects(
      within(client.send(identity.device, message('x', { expiryTimeUtc: 1000 })), 'send'),
      { name: 'ArgumentError' },
    );
    const full = await fleet.register();
    for (let n = 0; n < 50; n++) await client.send(full.device, message('x'));
    await assert.rejects(within(client.send(full.device, message('x')), 'send'), {
      name: 'DeviceMaximumQueueDepthExceededError',
    });
    for (;;) {
      const record = await feedback.next(40_000);
      if (record.deviceId !== identity.device) continue;
      assert.equal(record.originalMessageId, 'm-1');
      assert.equal(record.statusCode, 'Success');
      break;
    }
  });
}

test('abandoned feedback comes again', async (t) => {
  const identity = await fleet.register();
  const client = await serviceClient(t, 'tls');
  await within(client.open(), 'open');
  const hears = await receiver(client, 'getFeedbackReceiver');
  const seen = new Inbox('feedback');
  let given = 0;
  hears.on('message', (batch) => {
    const mine = JSON.parse(batch.getData().toString()).some((r) => r.deviceId === identity.device);
    if (mine && given++ === 0) return hears.abandon(batch, () => {});
    hears.complete(batch, () => {});
    if (mine) seen.put(given);
  });
  const sent = message('hello', { messageId: 'm', ack: 'full' });
  sent.expiryTimeUtc = Date.now() + 1000;
  await within(client.send(identity.device, sent), 'send');
  assert.equal(await seen.next(50_000), 2);
});

test('a wrong key and a policy without the right', async (t) => {
  const wrong = hub.serviceConnectionString.replace(/SharedAccessKey=.*/, 'SharedAccessKey=AAAA');
  const client = await serviceClient(t, 'tls', wrong);
  await assert.rejects(within(client.open(), 'open'));
  const lacking = await serviceClient(t, 'tls', hub.policies.registryRead);
  const identity = await fleet.register();
  await assert.rejects(within(lacking.send(identity.device, message('x')), 'send'));
});
