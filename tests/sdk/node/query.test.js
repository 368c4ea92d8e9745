// Twin queries through the stock Node service SDK.

'use strict';

const test = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const hub = require('./support/hub');
const { within } = require('./support/waiting');

const registry = hub.registry();
const run = crypto.randomUUID();
const names = Array.from({ length: 7 }, (_, number) => `qn-${run.slice(0, 8)}-${number}`);

test.before(async () => {
  for (const [number, deviceId] of names.entries()) {
    await within(registry.create({ deviceId }), 'create');
    const tags = { run, number, site: number % 3 === 0 ? 'b' : 'a' };
    await within(registry.updateTwin(deviceId, { tags }, '*'), 'updateTwin');
  }
});

const nextAsTwin = (query) => within(query.nextAsTwin(), 'nextAsTwin');

// The promise of `next()` resends no continuation; the callback does.
const next = (query) =>
  within(
    new Promise((resolve, reject) => {
      query.next((error, rows) => (error ? reject(error) : resolve(rows)));
    }),
    'next',
  );

test('whole twins, page by page', async () => {
  const query = registry.createQuery(`SELECT * FROM devices WHERE tags.run = '${run}'`, 3);
  const sizes = [];
  const seen = [];
  while (query.hasMoreResults) {
    const { result } = await nextAsTwin(query);
    sizes.push(result.length);
    seen.push(...result);
  }
  assert.deepEqual(sizes, [3, 3, 1]);
  assert.deepEqual(seen.map((twin) => twin.deviceId), names);
  assert.deepEqual(seen[4].tags, { run, number: 4, site: 'a' });
  // A row is a twin that can be written.
  await within(seen[4].update({ tags: { mark: 1 } }), 'update');
  const marked = registry.createQuery(`SELECT * FROM devices WHERE tags.run = '${run}' AND tags.mark = 1`);
  const { result } = await nextAsTwin(marked);
  assert.deepEqual(result.map((twin) => twin.deviceId), [names[4]]);
});

test('projections and aggregates', async () => {
  const counts = registry.createQuery(
    `SELECT tags.site AS site, COUNT() AS n FROM devices WHERE tags.run = '${run}' GROUP BY tags.site`,
  );
  assert.deepEqual(await next(counts), [{ site: 'a', n: 4 }, { site: 'b', n: 3 }]);
  assert.equal(counts.hasMoreResults, false);
  const ordered = registry.createQuery(
    `SELECT deviceId, tags.number FROM devices WHERE tags.run = '${run}' ORDER BY tags.number DESC`,
    4,
  );
  const rows = [...(await next(ordered))];
  assert.equal(ordered.hasMoreResults, true);
  rows.push(...(await next(ordered)));
  assert.equal(ordered.hasMoreResults, false);
  assert.deepEqual(rows.map((row) => row.number), [6, 5, 4, 3, 2, 1, 0]);
});

test('a bad query is refused', async () => {
  const query = registry.createQuery('SELECT * FROM devices WHERE tags.a =');
  await assert.rejects(next(query), { name: 'ArgumentError' });
});
