// Follows the daemon: figures every second or so, events as they happen. When that breaks, it says so and tries again.

import { confirm } from "./confirm.js";
import { add, time } from "./events.js";
import { id, say, write, writeOrHide } from "./page.js";
import { Rates } from "./rates.js";
import { Refused, change, figures, hear } from "./server.js";
import { show } from "./services.js";
import { ask, forget, hasToken } from "./token.js";

/** From one look to the next; where looking takes long, so many times as long. */
const [PAUSE, TIMES] = [1000, 4];
/** After an event, figures are read again so soon; many events at once are one reason. */
const SOON = 150;
/** From one try to connect to the next: at first, and at most. */
const [FIRST, MOST] = [250, 8000];

const rates = new Rates();
let [wait, took, soon] = [FIRST, 0, null];
let nudge = () => {};
/** When the figures were read that are shown. */
let seen = null;

document.title = `wocut on ${location.host}`;
id("forget").addEventListener("click", () => {
  forget();
  location.reload();
});
follow();

async function follow() {
  for (;;) {
    try {
      await session();
    } catch (error) {
      if (error instanceof Refused && error.status === 401) {
        await waitForToken(error);
        continue;
      }
      trouble(error);
    }
    await sleep(wait);
    wait = Math.min(2 * wait, MOST);
  }
}

/** One time of being connected, until figures or events fail to come. */
async function session() {
  const end = new AbortController();
  let opened;
  const isOpen = new Promise((resolve) => (opened = resolve));
  try {
    await Promise.race([hear({ opened, happened }, end.signal), isOpen.then(() => look(end.signal))]);
    throw new Error("The daemon has ended the connection.");
  } finally {
    end.abort();
  }
}

async function look(signal) {
  for (let isFirst = true; ; isFirst = false) {
    const start = performance.now();
    const { services, mayWrite } = await figures(signal);
    rates.add(services, performance.now());
    show(services, mayWrite ? askFor : null);
    write(id("rights"), mayWrite ? "You may look and make changes" : "You may look, and change nothing");
    if (isFirst) live();
    [seen, took] = [new Date(), performance.now() - start];
    await Promise.race([sleep(Math.max(PAUSE, TIMES * took)), new Promise((resolve) => (nudge = resolve))]);
    if (document.hidden) await shown();
    signal.throwIfAborted();
  }
}

/** Waits until somebody looks at the page again. */
function shown() {
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

function happened(event) {
  add(event);
  soon ??= setTimeout(() => {
    soon = null;
    nudge();
  }, Math.max(SOON, took));
}

function live() {
  if (seen) add({ event: "away" });
  wait = FIRST;
  say(id("link"), "Live", "good");
  writeOrHide(id("trouble"), "");
  id("forget").hidden = !hasToken();
}

function trouble(error) {
  say(id("link"), seen ? `Reconnecting; figures are of ${time(seen)}` : "Connecting", "bad");
  // What a browser says of a network helps nobody.
  const why = error instanceof Refused ? error.message : "The daemon does not answer. This page tries again.";
  writeOrHide(id("trouble"), why);
}

async function waitForToken(refused) {
  say(id("link"), "Waiting for a token", "idle");
  writeOrHide(id("trouble"), "");
  write(id("rights"), "");
  show([], null);
  await ask(refused.message);
}

function askFor(service, instance, admin, consequence) {
  const name = `${instance.name} of ${service.name}`;
  const [title, word] = admin === "drain" ? [`Drain ${name}?`, "Drain"] : [`Make ${name} ready?`, "Ready"];
  confirm(title, consequence, word, async () => {
    await change(service.name, instance.name, admin);
    nudge();
  });
}

function sleep(time) {
  return new Promise((resolve) => setTimeout(resolve, time));
}
