// File uploads: the device SDK asks, writes and tells by itself; a back end hears and reads.

'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const https = require('node:https');
const { test } = require('node:test');
const { Readable } = require('node:stream');
const hub = require('./support/hub');
const { register, client } = require('./support/fleet');
const { BlockBlobClient } = require('./support/sdk');
const { serviceClient, receiver } = require('./support/backend');
const { Inbox, eventually, within } = require('./support/waiting');

// A client that knows where the hub's HTTPS is.
async function device(test, transport) {
  const identity = await register();
  const made = await client(test, identity, transport, { open: false });
  if (hub.httpsPort !== 443) await made.setOptions({ ca: hub.ca, http: { agent: hub.agent() } });
  return { identity, made };
}

// The device's next notification, completed. Nobody else receives any in this folder.
async function notification(device) {
  const { token, told } = await eventually(() => hub.api.receiveFileNotification(), 'notification');
  await hub.api.completeFileNotification(token);
  assert.equal(told.deviceId, device);
  return told;
}

const fetchFile = (uri) =>
  new Promise((resolve, reject) => {
    https
      .get(uri, { ca: hub.ca }, (answer) => {
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk));
        answer.on('end', () => resolve({ status: answer.statusCode, body: Buffer.concat(chunks) }));
        answer.on('error', reject);
      })
      .on('error', reject);
  });

for (const [size, what] of [
  [10_000, 'a small file'],
  [9_000_000, 'a file of several blocks'],
]) {
  test(`uploadToBlob writes ${what}`, async (t) => {
    const { identity, made } = await device(t, 'mqtt');
    const data = crypto.randomBytes(size);
    const name = 'logs/a b.bin';
    const upload = made.uploadToBlob(name, Readable.from([data]), size);
    await within(upload, 'uploadToBlob', 30_000);
    const told = await notification(identity.device);
    assert.equal(told.blobName, `${identity.device}/${name}`);
    assert.equal(told.blobSizeInBytes, size);
    const found = await fetchFile(await hub.api.fileAddress(told.blobName));
    assert.equal(found.status, 200);
    assert.ok(found.body.equals(data), 'the bytes differ');
  });
}

test('a back end is told over AMQP', async (t) => {
  const { identity, made } = await device(t, 'amqp');
  await within(made.uploadToBlob('x.bin', Readable.from([Buffer.alloc(5)]), 5), 'upload', 30_000);
  const backEnd = await serviceClient(t, 'tls');
  await within(backEnd.open(), 'open');
  const hears = await receiver(backEnd, 'getFileNotificationReceiver');
  const told = new Inbox('notification');
  let given = 0;
  hears.on('message', (message) => {
    // Given back once, it comes again.
    if (given++ === 0) return hears.abandon(message, () => {});
    hears.complete(message, () => told.put(JSON.parse(message.getData().toString())));
  });
  const notification = await told.next(20_000);
  assert.equal(notification.deviceId, identity.device);
  assert.equal(notification.blobName, `${identity.device}/x.bin`);
  assert.equal(notification.blobSizeInBytes, 5);
  assert.equal(given, 2);
});

test('a device uploads by hand and tells how it went', async (t) => {
  const { identity, made } = await device(t, 'mqtt');
  const info = await within(made.getBlobSharedAccessSignature('by hand.txt'), 'address');
  assert.equal(info.blobName, `${identity.device}/by hand.txt`);
  const { hostName, containerName, blobName, sasToken } = info;
  const url = `https://${hostName}/${containerName}/${encodeURI(blobName)}${sasToken}`;
  const blob = new BlockBlobClient(url);
  await blob.upload('text', 4, { blobHTTPHeaders: { blobContentType: 'text/plain' } });
  const again = blob.upload('x', 1, { conditions: { ifNoneMatch: '*' } });
  await assert.rejects(again, (error) => error.statusCode === 409);
  assert.equal((await blob.getProperties()).contentType, 'text/plain');
  const answer = { isSuccess: true, statusCode: 200, statusDescription: 'OK' };
  await within(
    made.notifyBlobUploadStatus(info.correlationId, true, answer.statusCode, 'OK'),
    'notifyBlobUploadStatus',
  );
  assert.equal((await notification(identity.device)).blobSizeInBytes, 4);
  const twice = made.notifyBlobUploadStatus(info.correlationId, true, 200, 'OK');
  await assert.rejects(within(twice, 'notifyBlobUploadStatus'));
});
