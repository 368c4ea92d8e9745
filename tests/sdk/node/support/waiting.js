// Bounded waits.

'use strict';

const { setTimeout: pause } = require('node:timers/promises');

const MS = 10_000;

// Waits until `condition()` gives something true, and gives that.
async function eventually(condition, what, ms = MS) {
  const deadline = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await pause(20);
  }
}

// A promise that fails when another one takes too long.
function within(promise, what, ms = MS) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

// A listener that keeps what it is called with.
class Inbox {
  constructor(what) {
    this.what = what;
    this.items = [];
    this.waiting = [];
    this.put = (item) => {
      const waiter = this.waiting.shift();
      if (waiter) waiter(item);
      else this.items.push(item);
    };
  }

  next(ms = MS) {
    if (this.items.length) return Promise.resolve(this.items.shift());
    let waiter;
    const item = new Promise((resolve) => this.waiting.push((waiter = resolve)));
    return within(item, this.what, ms).catch((error) => {
      this.waiting = this.waiting.filter((each) => each !== waiter);
      throw error;
    });
  }

  async take(count, ms = MS) {
    const items = [];
    while (items.length < count) items.push(await this.next(ms));
    return items;
  }

  // For what must not come: the only way to see it is to wait a while.
  async staysEmpty(ms = 500) {
    await pause(ms);
    if (this.items.length)
      throw new Error(`unexpected ${this.what}: ${JSON.stringify(this.items)}`);
  }
}

module.exports = { eventually, within, Inbox };
