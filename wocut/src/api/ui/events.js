// What happened while the page was open, the newest first.

import { id } from "./page.js";
import { count } from "./words.js";

/** So many are kept. */
const KEPT = 200;

const SIGHTS = {
  listens: "it listens",
  absent: "a connection found nobody listening",
  full: "a connection found its accept queue full",
  refused: "the kernel would not give it a connection",
  reset: "it reset a connection without an answer",
};

const WORDS = {
  changed: ({ what, who }) => `${what} (${who})`,
  health: ({ service, instance, health, why }) => `${service}/${instance} is ${health}: ${why}`,
  seen: ({ service, instance, sight }) => `${service}/${instance}: ${SIGHTS[sight] ?? sight}`,
  empty: ({ service }) => `${service}: no instance is left that may take a connection`,
  repaired: ({ what }) => what.join("; "),
  failed: ({ what, why }) => `${what}: ${why}`,
  missed: ({ missed }) => `${count(missed)} events, because this page did not keep up`,
  away: () => "what happened while the page was not connected is not in this list",
};

let last = null;

export function add(event) {
  const words = WORDS[event.event];
  const text = words ? words(event) : JSON.stringify(event);
  const when = new Date(event.at == null ? Date.now() : 1000 * event.at);
  if (last?.kind !== event.event || last.text !== text) begin(event.event, text);
  last.times += 1;
  last.time.dateTime = when.toISOString();
  last.time.textContent = time(when);
  // What comes again and again is one line, and is read out once.
  if (last.times > 1) last.again.textContent = ` (${count(last.times)} times)`;
}

export function time(when) {
  return when.toTimeString().slice(0, 8);
}

function begin(kind, text) {
  const item = document.createElement("li");
  const [when, word, said, again] = ["time", "b", "span", "span"].map((tag) => document.createElement(tag));
  word.textContent = kind;
  said.textContent = text;
  item.append(when, " ", word, " ", said, again);
  const list = id("events").firstElementChild;
  list.prepend(item);
  while (list.children.length > KEPT) list.lastElementChild.remove();
  id("events").hidden = false;
  id("quiet").hidden = true;
  last = { kind, text, time: when, again, times: 0 };
}
