// The hub's own HTTP routes: sending to devices, files, and reading the event log.
//
// They are the hub's, not Azure's. Every test goes through this module, so that a change of a route
// or of a field is one edit here.

'use strict';

const assert = require('node:assert/strict');
const { identityPath } = require('./rest');
const { eventually } = require('./waiting');

const FILES = '/messages/serviceBound/fileNotifications';
const EVENTS = '/messages/events';
const GROUP = '%24Default';

const SEND_HEADERS = {
  messageId: 'iothub-messageid',
  correlationId: 'iothub-correlationid',
  userId: 'iothub-userid',
  expiry: 'iothub-expiry',
  ack: 'iothub-ack',
  contentType: 'iothub-contenttype',
  contentEncoding: 'iothub-contentencoding',
};

class HubApi {
  constructor(rest) {
    this.rest = rest;
  }

  // Sends a message to a device; gives messageId, sequenceNumber and depth.
  async send(device, body = '', { properties = {}, ...fields } = {}) {
    const headers = {};
    for (const [name, value] of Object.entries(fields)) headers[SEND_HEADERS[name]] = value;
    for (const [name, value] of Object.entries(properties)) headers[`iothub-app-${name}`] = value;
    const path = `${identityPath(device)}/messages/deviceBound`;
    const answer = await this.rest.request('POST', path, { body, headers });
    assert.equal(answer.status, 201, `sending to ${device}: ${answer.body}`);
    return JSON.parse(answer.body);
  }

  // How many messages wait for a device.
  async depth(device) {
    return (await this.rest.getIdentity(device)).cloudToDeviceMessageCount;
  }

  // A file notification as { token, told }, or undefined when there is none.
  async receiveFileNotification() {
    const answer = await this.rest.request('GET', FILES);
    if (answer.status === 204) return undefined;
    assert.equal(answer.status, 200, answer.body.toString());
    return { token: answer.headers.etag.replaceAll('"', ''), told: JSON.parse(answer.body) };
  }

  async completeFileNotification(token) {
    await this.rest.expect(204, 'DELETE', `${FILES}/${token}`);
  }

  // An address that a file can be read by.
  async fileAddress(blobName) {
    return (await this.rest.expect(200, 'GET', '/files/address', { query: { blobName } })).uri;
  }

  // An address of a folder for imports and exports.
  async containerAddress(name) {
    return (await this.rest.expect(200, 'GET', '/files/container', { query: { name } })).uri;
  }

  async partitions() {
    const found = await this.rest.expect(200, 'GET', `${EVENTS}/partitions`);
    return found.map((entry) => String(entry.partition));
  }

  async read(partition, start, max = 100) {
    const path = `${EVENTS}/ConsumerGroups/${GROUP}/Partitions/${partition}`;
    const page = await this.rest.expect(200, 'GET', path, { query: { from: start, max } });
    return { events: page.events.map(toEvent), next: page.next };
  }

  async reader() {
    const next = new Map();
    for (const partition of await this.partitions()) {
      next.set(partition, (await this.read(partition, 'latest')).next);
    }
    return new EventReader(this, next);
  }
}

function toEvent(fields) {
  return {
    partition: String(fields.partition),
    sequenceNumber: fields.sequenceNumber,
    system: fields.systemProperties,
    properties: fields.properties,
    body: Buffer.from(fields.body, 'base64'),
    device: fields.systemProperties['iothub-connection-device-id'],
    module: fields.systemProperties['iothub-connection-module-id'],
  };
}

// Follows all partitions from the moment of its making.
class EventReader {
  constructor(api, next) {
    this.api = api;
    this.next = next;
    this.seen = [];
  }

  // The first `count` events of a device, in the order of the log.
  waitFor(device, count) {
    return eventually(async () => {
      for (const [partition, position] of this.next) {
        const page = await this.api.read(partition, `sequence:${position}`);
        this.seen.push(...page.events);
        this.next.set(partition, page.next);
      }
      const found = this.seen.filter((event) => event.device === device);
      return found.length >= count && found.slice(0, count);
    }, `${count} events of ${device}`);
  }

  async one(device) {
    return (await this.waitFor(device, 1))[0];
  }
}

module.exports = { HubApi };
