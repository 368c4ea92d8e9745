// Identities with ids of their own, and stock SDK clients for them.

'use strict';

const crypto = require('node:crypto');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const hub = require('./hub');
const { DeviceClient, ModuleClient, Mqtt, MqttWs, Http, Amqp, AmqpWs } = require('./sdk');
const { within } = require('./waiting');

const TRANSPORTS = { mqtt: Mqtt, ws: MqttWs, http: Http, amqp: Amqp, amqpws: AmqpWs };

// Registers a device; with `module`, a device and a module of it, and gives the module.
async function register({ x509 = false, module, ...fields } = {}) {
  const device = `n-${crypto.randomUUID().slice(0, 13)}`;
  const certificate = x509 && selfSigned(device);
  if (certificate) {
    const primaryThumbprint = certificate.thumbprint;
    fields.authentication = { type: 'selfSigned', x509Thumbprint: { primaryThumbprint } };
  }
  if (module) await hub.rest.putIdentity(device);
  const record = await hub.rest.putIdentity(device, module, fields);
  return {
    device,
    module,
    record,
    certificate,
    key: record.authentication.symmetricKey?.primaryKey,
  };
}

function selfSigned(name) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hub-cert-'));
  const [keyFile, certFile] = ['key.pem', 'cert.pem'].map((file) => path.join(folder, file));
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      keyFile,
      '-out',
      certFile,
    ],
    { stdio: 'ignore' },
  );
  const [key, cert] = [keyFile, certFile].map((file) => fs.readFileSync(file, 'utf8'));
  fs.rmSync(folder, { recursive: true });
  const thumbprint = new crypto.X509Certificate(cert).fingerprint.replaceAll(':', '');
  return { key, cert, thumbprint };
}

function connectionString({ device, module, certificate, key }, transport, relay) {
  // Where the standard port is not the way, MQTT takes another one in the name of a gateway, or,
  // with certificates, in the name of the hub.
  const [usual, own] = transport === 'amqp' ? [5671, hub.amqpsPort] : [8883, hub.mqttsPort];
  const port = relay?.port ?? own;
  const named = transport === 'mqtt' || transport === 'amqp';
  const elsewhere = named && port !== usual && `${hub.hostName}:${port}`;
  let text = `HostName=${(certificate && elsewhere) || hub.hostName};DeviceId=${device}`;
  if (module) text += `;ModuleId=${module}`;
  text += certificate ? ';x509=true' : `;SharedAccessKey=${key}`;
  if (elsewhere && !certificate) text += `;GatewayHostName=${elsewhere}`;
  return text;
}

// Options that lead a transport to the hub, or to a relay in front of it.
function options(transport, { relay, certificate, ...more } = {}) {
  const all = { ca: hub.ca, ...more };
  if (certificate) Object.assign(all, { cert: certificate.cert, key: certificate.key });
  const port = relay?.port ?? hub.httpsPort;
  const elsewhere = port !== 443 && hub.agent(port, { cert: all.cert, key: all.key });
  if (transport === 'ws' && elsewhere) all.mqtt = { webSocketAgent: elsewhere };
  if (transport === 'amqpws' && elsewhere) all.amqp = { webSocketAgent: elsewhere };
  if (transport === 'http') {
    all.http = {
      receivePolicy: { interval: 1 },
      ...(elsewhere && { agent: elsewhere }),
      ...all.http,
    };
  }
  return all;
}

// A client of an identity, open unless told otherwise, and closed with the test.
async function client(test, identity, transport = 'mqtt', { open = true, ...more } = {}) {
  const Kind = identity.module ? ModuleClient : DeviceClient;
  const text = connectionString(identity, transport, more.relay);
  const made = Kind.fromConnectionString(text, TRANSPORTS[transport]);
  return adopt(test, made, transport, { open, certificate: identity.certificate, ...more });
}

async function adopt(test, made, transport, { open = true, ...more } = {}) {
  made.on('error', () => {}); // what goes wrong shows in what the test waits for
  test.after(() => within(made.close(), 'close', 5000).catch(() => {}));
  await within(made.setOptions(options(transport, more)), 'setOptions');
  if (open) await within(made.open(), 'open');
  return made;
}

module.exports = { TRANSPORTS, register, connectionString, client, adopt, selfSigned };
