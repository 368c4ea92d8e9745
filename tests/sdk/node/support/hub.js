// The hub under test, as run.js announced it.

'use strict';

const fs = require('node:fs');
const https = require('node:https');
const { HubApi } = require('./hubapi');
const { Rest } = require('./rest');
const {
  DigitalTwinClient,
  IoTHubTokenCredentials,
  JobClient,
  Registry,
  ServiceClient,
} = require('./sdk');

if (!process.env.HUB_READY) throw new Error('start these tests with run.js');

const ready = JSON.parse(process.env.HUB_READY);
const portOf = (address) => Number(address.slice(address.lastIndexOf(':') + 1));

const hub = {
  ready,
  hostName: ready.hostName,
  ca: fs.readFileSync(ready.caFile, 'utf8'),
  mqttsPort: portOf(ready.mqtts),
  httpsPort: portOf(ready.https),
  amqpsPort: portOf(ready.amqps),
  eventHubConnectionString: ready.eventHubConnectionString,
  serviceConnectionString: ready.serviceConnectionString,
  policies: ready.policies,
};
hub.rest = new Rest(hub, hub.serviceConnectionString);
hub.api = new HubApi(hub.rest);

// An agent that leads to `port` whatever port a client asks for: WebSocket, HTTP and service
// clients know only 443.
hub.agent = (port = hub.httpsPort, options = {}) =>
  new https.Agent({ host: '127.0.0.1', port, ca: hub.ca, servername: hub.hostName, ...options });

function service(Kind, policy) {
  const client = Kind.fromConnectionString(
    policy ? hub.policies[policy] : hub.serviceConnectionString,
  );
  // Only where the standard port was not to be had; the SDK has no public option for it.
  if (hub.httpsPort !== 443) client._restApiClient.setOptions({ http: { agent: hub.agent() } });
  return client;
}

hub.registry = (policy) => service(Registry, policy);
hub.serviceClient = (policy) => service(ServiceClient, policy);
hub.jobClient = (policy) => service(JobClient, policy);

// This client takes a port from the host name.
hub.digitalTwinClient = () => {
  const named = `HostName=${hub.hostName}:${hub.httpsPort}`;
  const text = hub.serviceConnectionString.replace(`HostName=${hub.hostName}`, named);
  return new DigitalTwinClient(new IoTHubTokenCredentials(text));
};

module.exports = hub;
