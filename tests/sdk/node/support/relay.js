// A TCP forwarder between an unmodified SDK and the hub, which a test can cut.

'use strict';

const net = require('node:net');

class Relay {
  // Leads to a port of the hub, and ends with the test.
  static async to(port, test) {
    const relay = new Relay(port);
    await new Promise((resolve) => relay.server.listen(0, '127.0.0.1', resolve));
    relay.port = relay.server.address().port;
    test.after(() => relay.close());
    return relay;
  }

  constructor(target) {
    this.accepted = 0;
    this.admitting = true;
    this.sockets = new Set();
    this.server = net.createServer((client) => {
      if (!this.admitting) {
        client.destroy();
        return;
      }
      this.accepted += 1;
      const hub = net.connect(target, '127.0.0.1');
      for (const [one, other] of [
        [client, hub],
        [hub, client],
      ]) {
        this.sockets.add(one);
        one.on('error', () => {});
        one.on('close', () => {
          this.sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
  }

  // Cuts every connection; new ones are welcome.
  drop() {
    for (const socket of this.sockets) socket.destroy();
  }

  // Cuts every connection and every new one, until `admit`.
  refuse() {
    this.admitting = false;
    this.drop();
  }

  admit() {
    this.admitting = true;
  }

  close() {
    this.refuse();
    this.server.close();
  }
}

module.exports = { Relay };
