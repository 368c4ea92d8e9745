// Starts one hubd, runs the tests against it with node's own runner, and stops it.
//
//   node run.js [FILE...]
//
// One hub serves all files: they keep apart by the ids of their devices. It is started here and not
// by the tests, because node reads extra trusted certificates only when it starts.

'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');

const WORKSPACE = path.resolve(__dirname, '../../..');
const START_MS = 30_000;
const STOP_MS = 15_000;

function binary() {
  if (process.env.HUBD) return process.env.HUBD;
  const target = process.env.CARGO_TARGET_DIR || path.join(WORKSPACE, 'target');
  const built = ['debug', 'release']
    .map((profile) => path.join(target, profile, 'examples', 'hubd'))
    .filter((file) => fs.existsSync(file))
    .sort((a, b) => fs.statSync(b).mtimeMs - fs.statSync(a).mtimeMs);
  if (!built.length) throw new Error('no hubd: set HUBD or run cargo build --example hubd');
  return built[0];
}

// $HUBD_STORE, or memory. The hub begins empty: `file` is a directory in its own one, and on
// PostgreSQL it gets a schema.
function store(dataDir) {
  const given = process.env.HUBD_STORE || 'memory';
  if (given === 'file') return `file:${dataDir}/store`;
  if (!/^postgres(ql)?:/.test(given) || given.includes('schema=')) return given;
  return `${given}${given.includes('?') ? '&' : '?'}schema=sdk_${process.pid}_${Date.now()}`;
}

// The port that stock SDKs insist on if it can be bound, else one of the hub's choice.
function addressOrAny(port) {
  if (process.env.HUB_SDK_PORTS === 'random') return '127.0.0.1:0';
  return new Promise((resolve) => {
    const probe = net.createServer();
    probe.once('error', () => resolve('127.0.0.1:0'));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(`127.0.0.1:${port}`)));
  });
}

async function startHubd(dataDir) {
  const flags = [
    '--store',
    store(dataDir),
    '--data-dir',
    dataDir,
    '--mqtts',
    await addressOrAny(8883),
    '--https',
    await addressOrAny(443),
    '--mqtt',
    '127.0.0.1:0',
    '--http',
    '127.0.0.1:0',
    '--amqps',
    await addressOrAny(5671),
  ];
  const hubd = spawn(binary(), flags, { stdio: ['ignore', 'pipe', 'pipe'] });
  const log = [];
  readline.createInterface({ input: hubd.stderr }).on('line', (line) => {
    log.push(line);
    if (log.length > 200) log.shift();
  });
  const ready = await new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`hubd ${why}; its standard error:\n${log.join('\n')}`));
    const timer = setTimeout(() => fail(`was not ready within ${START_MS} ms`), START_MS);
    hubd.once('error', (error) => fail(`could not be started: ${error.message}`));
    hubd.once('close', (code) => fail(`ended with code ${code} before it was ready`));
    readline.createInterface({ input: hubd.stdout }).on('line', (line) => {
      if (!line.startsWith('ready ')) return;
      clearTimeout(timer);
      resolve(line.slice('ready '.length));
    });
  }).catch((error) => {
    hubd.kill('SIGKILL');
    throw error;
  });
  return { hubd, ready, log };
}

function ended(child) {
  if (child.exitCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once('exit', (code) => resolve(code)));
}

async function main() {
  const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'hubd-'));
  let started;
  try {
    started = await startHubd(dataDir);
    const files = process.argv.slice(2);
    if (!files.length) {
      for (const name of fs.readdirSync(__dirname).sort()) {
        if (name.endsWith('.test.js')) files.push(path.join(__dirname, name));
      }
    }
    const limits = ['--test-timeout=60000', '--test-concurrency=2', '--test-force-exit'];
    const tests = spawn(process.execPath, ['--test', '--test-reporter=spec', ...limits, ...files], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: {
        ...process.env,
        HUB_READY: started.ready,
        NODE_EXTRA_CA_CERTS: JSON.parse(started.ready).caFile,
      },
    });
    process.exitCode = await ended(tests);
    if (process.exitCode !== 0)
      console.log(`the end of hubd's log:\n${started.log.slice(-40).join('\n')}`);
  } finally {
    if (started) {
      started.hubd.kill('SIGTERM');
      const timer = setTimeout(() => started.hubd.kill('SIGKILL'), STOP_MS);
      await ended(started.hubd);
      clearTimeout(timer);
    }
    fs.rmSync(dataDir, { recursive: true, force: true });
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
