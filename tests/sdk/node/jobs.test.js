// Jobs through the stock Node service SDK.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const hub = require('./support/hub');
const { within } = require('./support/waiting');

const registry = hub.registry();
const jobs = hub.jobClient();
const run = crypto.randomUUID();
const names = Array.from({ length: 5 }, (_, number) => `jn-${run.slice(0, 8)}-${number}`);
const id = (name) => `${name}-${run}`;

test.before(async () => {
  for (const deviceId of names) {
    await within(registry.create({ deviceId }), 'create');
  }
});

async function ended(jobId) {
  for (;;) {
    const { jobStatus: job } = await within(jobs.getJob(jobId), 'getJob');
    if (!['queued', 'running', 'enqueued', 'scheduled'].includes(job.status)) return job;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test('scheduleTwinUpdate over a list of ids', async () => {
  const chosen = names.slice(0, 3);
  const patch = { etag: '*', properties: { desired: { rate: 7 } } };
  const condition = `deviceId IN [${chosen.map((name) => `'${name}'`).join(',')}]`;
  await within(jobs.scheduleTwinUpdate(id('t'), condition, patch, new Date(), 300), 'schedule');
  const job = await within(ended(id('t')), 'job', 30000);
  assert.equal(job.status, 'completed');
  assert.equal(job.type, 'scheduleUpdateTwin');
  assert.equal(job.deviceJobStatistics.deviceCount, 3);
  assert.equal(job.deviceJobStatistics.succeededCount, 3);
  for (const name of names) {
    const { responseBody: twin } = await within(registry.getTwin(name), 'getTwin');
    assert.equal(twin.properties.desired.rate, chosen.includes(name) ? 7 : undefined);
  }
  const query = registry.createQuery(`SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '${id('t')}'`);
  const rows = await new Promise((resolve, reject) => {
    query.next((error, found) => (error ? reject(error) : resolve(found)));
  });
  assert.deepEqual(rows.map((row) => row.deviceId).sort(), chosen);
  assert.ok(rows.every((row) => row.status === 'completed'));
});

test('scheduleDeviceMethod to devices that stay offline', async () => {
  const method = { methodName: 'reboot', payload: { a: 1 }, responseTimeoutInSeconds: 15 };
  const condition = `deviceId = '${names[4]}'`;
  await within(jobs.scheduleDeviceMethod(id('m'), condition, method, new Date(), 1), 'schedule');
  const job = await within(ended(id('m')), 'job', 30000);
  assert.equal(job.status, 'completed');
  assert.equal(job.deviceJobStatistics.failedCount, 1);
});

test('a job of the future is queued, cancelled and listed', async () => {
  const later = new Date(Date.now() + 3600 * 1000);
  const patch = { etag: '*', tags: { never: 1 } };
  const { jobStatus: asked } = await within(
    jobs.scheduleTwinUpdate(id('c'), '*', patch, later, 60),
    'schedule',
  );
  assert.equal(asked.status, 'queued');
  await within(jobs.cancelJob(id('c')), 'cancelJob');
  assert.equal((await within(ended(id('c')), 'job')).status, 'cancelled');
  const query = jobs.createQuery('scheduleUpdateTwin', 'cancelled');
  const listed = await new Promise((resolve, reject) => {
    query.next((error, found) => (error ? reject(error) : resolve(found)));
  });
  assert.ok(listed.some((job) => job.jobId === id('c')));
});

test('an id is used once', async () => {
  const patch = { etag: '*', tags: { a: 1 } };
  const condition = `deviceId = '${names[3]}'`;
  const ask = () => within(jobs.scheduleTwinUpdate(id('o'), condition, patch, new Date(), 60), 'schedule');
  await ask();
  await assert.rejects(ask());
  await assert.rejects(within(jobs.getJob(id('none')), 'getJob'), { message: 'Not found' });
});
