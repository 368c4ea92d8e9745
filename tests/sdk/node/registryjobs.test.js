// Imports and exports of the registry through the stock Node service SDK.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const hub = require('./support/hub');
const { ContainerClient } = require('./support/sdk');
const { within } = require('./support/waiting');

const registry = hub.registry();
const run = crypto.randomUUID().slice(0, 8);
const names = [`rj-${run}-1`, `rj-${run}-2`];

let address;
let files;

test.before(async () => {
  address = await hub.api.containerAddress(`node-${run}`);
  files = new ContainerClient(address);
});

async function ended(job) {
  for (;;) {
    const found = await within(registry.getJob(job.jobId), 'getJob');
    if (!['enqueued', 'running'].includes(found.status)) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function lines(name) {
  const text = (await files.getBlobClient(name).downloadToBuffer()).toString();
  assert.ok(text.endsWith('\r\n'));
  return text.trimEnd().split('\r\n').map((line) => JSON.parse(line));
}

const put = (text) => files.getBlockBlobClient('devices.txt').upload(text, text.length);

test('importDevicesFromBlob carries out what a file says', async () => {
  const wanted = [
    ...names.map((id) => ({ id, importMode: 'create', status: 'enabled', tags: { run } })),
    { id: names[0], importMode: 'create' },
  ];
  await put(wanted.map((line) => `${JSON.stringify(line)}\r\n`).join(''));
  const asked = await within(registry.importDevicesFromBlob(address, address), 'import');
  assert.equal(asked.type, 'import');
  const job = await within(ended(asked), 'job', 30000);
  assert.deepEqual([job.status, job.progress, job.failureReason], ['completed', 100, null]);
  for (const name of names) {
    const { responseBody: twin } = await within(registry.getTwin(name), 'getTwin');
    assert.equal(twin.tags.run, run);
  }
  const log = await lines('importErrors.log');
  assert.deepEqual(log, [{ deviceId: names[0], errorCode: 409001, errorStatus: names[0] }]);
});

test('exportDevicesToBlob writes devices.txt', async () => {
  for (const exclude of [false, true]) {
    const asked = await within(registry.exportDevicesToBlob(address, exclude), 'export');
    const job = await within(ended(asked), 'job', 30000);
    assert.equal(job.status, 'completed');
    assert.equal(job.excludeKeysInExport, exclude);
    const found = (await lines('devices.txt')).find((line) => line.id === names[0]);
    assert.equal(found.authentication.symmetricKey.primaryKey === null, exclude);
    assert.deepEqual(found.tags, { run });
  }
  const { responseBody: listed } = await within(registry.listJobs(), 'listJobs');
  assert.ok(listed.length >= 3);
});

test('with the identity of the hub no right has to be in the address', async () => {
  const bare = address.split('?')[0];
  const refused = registry.exportDevicesToBlob(bare, false);
  await assert.rejects(within(refused, 'export'), (error) => error.response.statusCode === 400);
  const asked = await within(registry.exportDevicesToBlobByIdentity(bare, true), 'export');
  assert.equal((await within(ended(asked), 'job', 30000)).status, 'completed');
});

test('cancelJob ends a job, and leaves one that is over as it is', async () => {
  const many = Array.from({ length: 20000 }, (_, n) => `{"id":"rj-${run}-none","importMode":"update","n":${n}}\n`);
  await put(many.join(''));
  const asked = await within(registry.importDevicesFromBlob(address, address), 'import');
  await within(registry.cancelJob(asked.jobId), 'cancelJob');
  const job = await within(ended(asked), 'job', 30000);
  assert.equal(job.status, 'cancelled');
  await within(registry.cancelJob(asked.jobId), 'cancelJob');
  await assert.rejects(within(registry.cancelJob('none'), 'cancelJob'), /not found|NotFound|none/i);
});
