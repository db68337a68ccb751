// The table of the instances of one service.

import { arrange, copy, part, say, write, writeOrHide } from "./page.js";
import { count, detail, emptied, many, percent, rate, state } from "./words.js";

/** Rows that are shown without being asked for. */
const ROWS = 64;

export class Instances {
  #rows = new Map();
  #body;
  #onChange;
  #shown = ROWS;

  /** `onChange` is nothing for those who may change nothing. */
  constructor(body, onChange) {
    this.#body = body;
    this.#onChange = onChange;
    if (!onChange) part(body, "admin").remove();
    part(body, "all").addEventListener("click", () => {
      this.#shown = Infinity;
      this.#show();
    });
  }

  show(service) {
    this.service = service;
    this.#show();
  }

  #show() {
    const { name, backends } = this.service;
    const shown = backends.slice(0, this.#shown);
    const shares = measured(backends);
    // Bars are compared with each other, so the longest has all the room.
    const longest = Math.max(...backends.map((instance) => instance.share), ...shares, 0) || 1;
    const rows = shown.map((instance, place) => {
      const row = this.#rows.get(instance.name) ?? this.#row(instance.name);
      fill(row, name, instance, shares[place], longest);
      return row;
    });
    this.#body.querySelector("table").hidden = rows.length === 0;
    arrange(this.#body.querySelector("tbody"), rows);
    this.#rows = new Map(shown.map((instance, place) => [instance.name, rows[place]]));
    write(part(this.#body, "instances"), `Instances of ${name}`);
    const left = backends.length - shown.length;
    writeOrHide(part(this.#body, "all"), left > 0 ? `Show ${many(left, "more instance", "more instances")}` : "");
  }

  #row(name) {
    const row = copy("instance");
    if (this.#onChange) part(row, "change").addEventListener("click", () => this.#ask(name));
    else part(row, "admin").remove();
    return row;
  }

  #ask(name) {
    const { service } = this;
    const instance = service.backends.find((one) => one.name === name);
    if (instance) this.#onChange(service, instance, wish(instance), consequence(service, instance));
  }
}

function fill(row, service, instance, share, longest) {
  write(part(row, "name"), instance.name);
  const place = instance.address.startsWith(":") ? `port ${instance.port}` : instance.address;
  write(part(row, "place"), instance.name === String(instance.port) && place.startsWith("port") ? "" : place);
  say(part(row, "state"), ...state(instance));
  write(part(row, "detail"), detail(instance));
  for (const [name, value] of [["expected", instance.share], ["measured", share]]) {
    write(part(row, name), percent(value));
    part(row, `${name}-bar`).setAttribute("width", `${((100 * (value ?? 0)) / longest).toFixed(1)}%`);
  }
  write(part(row, "rate"), rate(instance.rate));
  for (const name of ["active", "accept_queue", "failovers"]) write(part(row, name), count(instance[name]));
  const button = part(row, "change");
  if (button) {
    const word = wish(instance) === "drain" ? "Drain" : "Ready";
    write(button, word);
    button.setAttribute("aria-label", `${word} ${instance.name} of ${service}`);
  }
}

/** Parts of the picks since shares last changed; nothing where there are none, or none is counted. */
function measured(backends) {
  const fresh = backends.map(({ picked, picked_before }) => (picked == null ? null : picked - picked_before));
  const all = fresh.reduce((sum, picks) => sum + Math.max(picks ?? 0, 0), 0);
  return fresh.map((picks) => (picks == null || all === 0 ? null : Math.max(picks, 0) / all));
}

function wish(instance) {
  return instance.admin === "ready" ? "drain" : "ready";
}

/** What comes of a change, for who is to confirm it. */
function consequence(service, instance) {
  if (wish(instance) === "ready") return "It gets new connections again, as soon as it can take them.";
  const others = service.backends.filter((other) => other !== instance && state(other)[1] === "good");
  const last = others.length === 0 ? ` No other instance serves: ${emptied(service.on_empty, service.name)}.` : "";
  return `It gets no new connections. ${staying(instance.active)}${last}`;
}

function staying(open) {
  if (open === 0) return "None is open now.";
  if (open === 1) return "The one that is open stays.";
  return open == null ? "Those that are open stay." : `The ${count(open)} that are open stay.`;
}
