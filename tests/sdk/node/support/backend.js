// The stock service client over AMQP.

'use strict';

const hub = require('./hub');
const { ServiceClient, ServiceAmqp, ServiceAmqpWs } = require('./sdk');
const { within } = require('./waiting');

// The service client takes a port from the host name over AMQP; over WebSockets it knows only 443.
const SERVICE = { tls: ServiceAmqp, ws: ServiceAmqpWs };
const servable = { tls: true, ws: hub.httpsPort === 443 };

async function serviceClient(t, transport, text = hub.serviceConnectionString) {
  const named =
    transport === 'tls' && hub.amqpsPort !== 5671
      ? text.replace(hub.hostName, `${hub.hostName}:${hub.amqpsPort}`)
      : text;
  const client = ServiceClient.fromConnectionString(named, SERVICE[transport]);
  t.after(() => within(client.close(), 'close', 5000).catch(() => {}));
  return client;
}

const receiver = (client, which) =>
  new Promise((resolve, reject) =>
    client[which]((error, made) => (error ? reject(error) : resolve(made))),
  );

module.exports = { SERVICE, servable, serviceClient, receiver };
