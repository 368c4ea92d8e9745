// Direct methods, answered by the stock Node SDK and called by the stock service SDK.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const hub = require('./support/hub');
const fleet = require('./support/fleet');
const { eventually, within } = require('./support/waiting');

// Registering a handler subscribes in the background; a call that may wait for the device is the
// way to know that it is done.
const PATIENT = { connectTimeoutInSeconds: 10, responseTimeoutInSeconds: 10 };

async function call(identity, methodName, payload) {
  const client = hub.serviceClient();
  const params = { methodName, payload, ...PATIENT };
  const place = identity.module ? [identity.device, identity.module] : [identity.device];
  const { result } = await within(
    client.invokeDeviceMethod(...place, params),
    'method call',
    25_000,
  );
  return result;
}

function serve(client, name, status, answer) {
  const register = client.onDeviceMethod ?? client.onMethod;
  register.call(client, name, (request, response) => {
    const payload = answer(request.payload);
    if (payload === undefined) response.send(status);
    else response.send(status, payload);
  });
}

// What the service SDK's own tests against Azure call with.
const PAYLOADS = [null, '', 'foo', { k1: 'v1' }, {}, [1, 'two'], 7];

for (const transport of ['mqtt', 'ws', 'amqp', 'amqpws']) {
  test(`payloads go there and back: ${transport}`, async (t) => {
    const identity = await fleet.register();
    const client = await fleet.client(t, identity, transport);
    const seen = [];
    serve(client, 'echo', 299, (payload) => {
      seen.push(payload);
      return payload;
    });
    for (const payload of PAYLOADS) {
      assert.deepEqual(await call(identity, 'echo', payload), { status: 299, payload });
    }
    assert.deepEqual(seen, PAYLOADS);
  });

  test(`a method without payload reaches its handler: ${transport}`, async (t) => {
    const identity = await fleet.register();
    let called = 0;
    serve(await fleet.client(t, identity, transport), 'bare', 200, () => void called++);
    assert.deepEqual(await call(identity, 'bare'), { status: 200, payload: null });
    assert.equal(called, 1);
  });

  test(`methods of a module: ${transport}`, async (t) => {
    const identity = await fleet.register({ module: 'm1' });
    serve(await fleet.client(t, identity, transport), 'who', 200, () => 'module');
    assert.deepEqual(await call(identity, 'who', null), { status: 200, payload: 'module' });
  });
}

test('more than ten calls in one connection', async (t) => {
  const identity = await fleet.register();
  serve(await fleet.client(t, identity), 'count', 200, (payload) => payload);
  for (let number = 1; number <= 20; number++) {
    assert.equal((await call(identity, 'count', { number })).payload.number, number);
  }
});

test('parallel calls get their own answers', async (t) => {
  const identity = await fleet.register();
  const client = await fleet.client(t, identity);
  client.onDeviceMethod('slow', (request, response) => {
    setTimeout(() => response.send(200, request.payload), 200 - 10 * request.payload);
  });
  const numbers = [...Array(15).keys()];
  const results = await Promise.all(numbers.map((number) => call(identity, 'slow', number)));
  assert.deepEqual(
    results.map((result) => result.payload),
    numbers,
  );
});

test('the component of a command stays in the name', async (t) => {
  const identity = await fleet.register();
  serve(await fleet.client(t, identity), 'thermostat1*reboot', 200, () => 'ok');
  assert.equal((await call(identity, 'thermostat1*reboot', null)).payload, 'ok');
});

async function refusal(device, params) {
  try {
    await within(hub.serviceClient().invokeDeviceMethod(device, params), 'refusal', 15_000);
  } catch (error) {
    return error;
  }
  throw new Error('the call was not refused');
}

test('an unknown device', async () => {
  const error = await refusal('no-such-device', { methodName: 'x' });
  assert.equal(error.response.statusCode, 404);
  assert.equal(error.response.headers['iothub-errorcode'], 'DeviceNotFound');
});

test('a device that is offline', async () => {
  const { device } = await fleet.register();
  const error = await refusal(device, { methodName: 'x' });
  assert.equal(error.response.statusCode, 404);
  assert.equal(error.response.headers['iothub-errorcode'], 'DeviceNotOnline');
});

test('a device that does not answer', async (t) => {
  const identity = await fleet.register();
  const client = await fleet.client(t, identity);
  client.onDeviceMethod('silent', () => {});
  serve(client, 'ready', 200, () => 'yes');
  await call(identity, 'ready', null);
  // This SDK waits exactly as long as the hub and repeats what timed out: the hub has to be first.
  const begin = Date.now();
  const error = await refusal(identity.device, {
    methodName: 'silent',
    responseTimeoutInSeconds: 5,
  });
  assert.equal(error.name, 'GatewayTimeoutError');
  assert.ok(Date.now() - begin < 6000, 'one attempt, not several');
});

test('a device that closed its connection', async (t) => {
  const identity = await fleet.register();
  const client = await fleet.client(t, identity);
  serve(client, 'x', 200, () => 'yes');
  await call(identity, 'x', null);
  await within(client.close(), 'close');
  const gone = async () => (await hub.rest.invoke(identity.device, 'x')).status === 404;
  await eventually(gone, 'the hub seeing it leave');
});
