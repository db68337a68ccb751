// Rates, from counters that were read one after the other.

/** What a line shows, in milliseconds. */
export const SHOWN = 120_000;
/** Over less than this a rate says little, over more it is none of now. */
const [LEAST, MOST] = [500, 15_000];

export class Rates {
  #at = -Infinity;
  #counters = new Map();
  #rates = new Map();
  #lines = new Map();

  /** Gives every service and instance its rate, where one is known, and every service its line. */
  add(services, at) {
    if (at - this.#at >= LEAST) this.#measure(services, at);
    for (const service of services) {
      service.rate = this.#rates.get(service.name) ?? null;
      service.line = this.#lines.get(service.name) ?? [];
      for (const instance of service.backends) instance.rate = this.#rates.get(key(service, instance)) ?? null;
    }
  }

  #measure(services, at) {
    const [before, passed] = [this.#counters, at - this.#at];
    this.#counters = new Map();
    this.#rates = new Map();
    const measure = (name, counter) => {
      const had = before.get(name);
      this.#counters.set(name, counter);
      // A counter that is smaller than before began anew.
      const isKnown = counter != null && had != null && counter >= had && passed <= MOST;
      this.#rates.set(name, isKnown ? (1000 * (counter - had)) / passed : null);
    };
    for (const service of services) {
      measure(service.name, service.picks);
      for (const instance of service.backends) measure(key(service, instance), instance.picked);
    }
    const lines = services.map(({ name }) => {
      const line = (this.#lines.get(name) ?? []).filter((point) => at - point.at <= SHOWN);
      line.push({ at, rate: this.#rates.get(name) });
      return [name, line];
    });
    this.#lines = new Map(lines);
    this.#at = at;
  }
}

function key(service, instance) {
  return `${service.name}/${instance.name}`;
}
