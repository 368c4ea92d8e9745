// Azure's service REST routes, used to set a scene without the service SDK.

'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const https = require('node:https');

const API_VERSION = '2021-04-12';

const parse = (text) =>
  Object.fromEntries(
    text
      .split(';')
      .map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)]),
  );

function sasToken(resource, key, policy, ttl = 3600) {
  const encoded = encodeURIComponent(resource);
  const expiry = Math.floor(Date.now() / 1000) + ttl;
  const hmac = crypto.createHmac('sha256', Buffer.from(key, 'base64'));
  const signature = encodeURIComponent(hmac.update(`${encoded}\n${expiry}`).digest('base64'));
  const text = `SharedAccessSignature sr=${encoded}&sig=${signature}&se=${expiry}`;
  return policy ? `${text}&skn=${policy}` : text;
}

function identityPath(device, module) {
  const path = `/devices/${encodeURIComponent(device)}`;
  return module ? `${path}/modules/${encodeURIComponent(module)}` : path;
}

const twinPath = (device, module) => identityPath(device, module).replace('/devices/', '/twins/');

class Rest {
  constructor(hub, connectionString) {
    this.hub = hub;
    this.parts = parse(connectionString);
  }

  // Gives { status, headers, body }, the body as a buffer.
  request(method, path, { json, body, headers = {}, query = {} } = {}) {
    const token = sasToken(
      this.hub.hostName,
      this.parts.SharedAccessKey,
      this.parts.SharedAccessKeyName,
    );
    const all = { Authorization: token, ...headers };
    let data = body;
    if (json !== undefined) {
      data = Buffer.from(JSON.stringify(json));
      all['Content-Type'] = 'application/json; charset=utf-8';
    }
    if (data !== undefined) all['Content-Length'] = Buffer.byteLength(data);
    const text = new URLSearchParams({ 'api-version': API_VERSION, ...query });
    const options = {
      method,
      host: '127.0.0.1',
      servername: this.hub.hostName,
      port: this.hub.httpsPort,
      path: `${path}?${text}`,
      headers: { Host: this.hub.hostName, ...all },
      ca: this.hub.ca,
      timeout: 30_000,
    };
    return new Promise((resolve, reject) => {
      const request = https.request(options, (answer) => {
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk));
        answer.on('end', () =>
          resolve({
            status: answer.statusCode,
            headers: answer.headers,
            body: Buffer.concat(chunks),
          }),
        );
        answer.on('error', reject);
      });
      request.on('timeout', () => request.destroy(new Error(`${method} ${path}: no answer`)));
      request.on('error', reject);
      request.end(data);
    });
  }

  async expect(statuses, method, path, options) {
    const answer = await this.request(method, path, options);
    assert.ok(
      [statuses].flat().includes(answer.status),
      `${method} ${path}: ${answer.status} ${answer.body.toString().slice(0, 500)}`,
    );
    return answer.body.length ? JSON.parse(answer.body) : undefined;
  }

  putIdentity(device, module, fields = {}) {
    const json = { deviceId: device, ...(module && { moduleId: module }), ...fields };
    return this.expect([200, 201], 'PUT', identityPath(device, module), { json });
  }

  getIdentity(device, module) {
    return this.expect(200, 'GET', identityPath(device, module));
  }

  async updateIdentity(device, changes) {
    const json = { ...(await this.getIdentity(device)), ...changes };
    return this.expect(200, 'PUT', identityPath(device), { json, headers: { 'If-Match': '"*"' } });
  }

  deleteIdentity(device) {
    return this.expect(204, 'DELETE', identityPath(device), { headers: { 'If-Match': '"*"' } });
  }

  getTwin(device, module) {
    return this.expect(200, 'GET', twinPath(device, module));
  }

  patchDesired(device, desired, module) {
    const json = { properties: { desired } };
    return this.expect(200, 'PATCH', twinPath(device, module), {
      json,
      headers: { 'If-Match': '"*"' },
    });
  }

  // Calls a method; gives the answer, whatever its status.
  async invoke(
    device,
    methodName,
    payload,
    { module, responseTimeout = 10, connectTimeout = 0 } = {},
  ) {
    const json = {
      methodName,
      payload,
      responseTimeoutInSeconds: responseTimeout,
      connectTimeoutInSeconds: connectTimeout,
    };
    const answer = await this.request('POST', `${twinPath(device, module)}/methods`, { json });
    return { status: answer.status, result: JSON.parse(answer.body) };
  }
}

module.exports = { Rest, sasToken, identityPath };
