// What is asked of the daemon: its own API, with the token of whoever looks, if they have one.

import { headers } from "./token.js";

/** A stream that is silent for longer is dead: a living one says something every 15 seconds. */
const SILENCE = 40_000;
/** The daemon gives up on an answer after 30 seconds. */
const PATIENCE = 35_000;

/** What the daemon refuses, in its own words. */
export class Refused extends Error {
  constructor(status, message, hint) {
    super(hint ? `${message}; ${hint}` : message);
    this.status = status;
  }
}

/** The figures of all services, and whether changes may be made. */
export async function figures(signal) {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
  const response = await ask("GET", "_stats", limit);
  return { services: await response.json(), mayWrite: response.headers.get("Wocut-Access") === "write" };
}

/** `drain` or `ready`. */
export async function change(service, instance, admin) {
  const path = [service, instance, `_${admin}`].map(encodeURIComponent).join("/");
  await ask("POST", path, AbortSignal.timeout(PATIENCE));
}

/** Hears what happens, until the daemon ends or is heard no more. EventSource would send no token. */
export async function hear({ opened, happened }, signal) {
  const silent = new AbortController();
  let timer = setTimeout(() => silent.abort(), SILENCE);
  try {
    const response = await ask("GET", "_events", AbortSignal.any([signal, silent.signal]));
    opened();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENCE);
      const said = (text + value).split("\n\n");
      text = said.pop();
      said.forEach((event) => parse(event, happened));
    }
  } finally {
    clearTimeout(timer);
  }
}

function parse(event, happened) {
  const data = event.split("\n").filter((line) => line.startsWith("data:"));
  if (data.length > 0) happened(JSON.parse(data.map((line) => line.slice(5)).join("\n")));
}

async function ask(method, path, signal) {
  const response = await fetch(path, { method, headers: headers(), signal, cache: "no-store", redirect: "error" });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw new Refused(response.status, error?.message ?? `the answer was ${response.status}`, error?.hint);
}
