// A twin whose changes are certain to be heard.

'use strict';

const hub = require('./hub');
const { Inbox, eventually, within } = require('./waiting');

// Gives the twin, the changes that it announces, and `heard`, which waits until it announces them.
//
// The SDK subscribes in the background and tells nobody when it is done, so the way to know is to
// change something until it shows.
async function watch(client, identity) {
  const twin = await within(client.getTwin(), 'getTwin');
  const changes = new Inbox('desired change');
  // Copies, because the SDK goes on to change the very object that it announces first.
  twin.on('properties.desired', (change) => changes.put(structuredClone(change)));
  await changes.next(); // what was read
  let beat = 0;

  async function heard() {
    await eventually(
      async () => {
        await hub.rest.patchDesired(identity.device, { beat: ++beat }, identity.module);
        for (;;) {
          const change = await changes.next(300).catch(() => undefined);
          if (!change || change.beat === beat) return change;
        }
      },
      'an announced change',
      20_000,
    );
  }

  await heard();
  return { twin, changes, heard };
}

module.exports = { watch };
