// The list of services. Of those that are closed nothing but a line is made, and of many only the first are shown.

import { draw } from "./chart.js";
import { Instances } from "./instances.js";
import { arrange, copy, id, part, say, write, writeOrHide } from "./page.js";
import { count, health, many, rate, size, yes } from "./words.js";

/** So few services are open from the start. */
const FEW = 4;
/** So many are shown at once. */
const AT_ONCE = 100;

let services = [];
let views = new Map();
let onChange = null;
let limit = AT_ONCE;

id("filter").addEventListener("input", () => {
  limit = AT_ONCE;
  list();
});
id("more").addEventListener("click", () => {
  limit += AT_ONCE;
  list();
});

/** Shows figures; `change` is nothing for those who may change nothing. */
export function show(now, change) {
  // Buttons are made with the rows.
  if (Boolean(change) !== Boolean(onChange)) views = new Map();
  [services, onChange] = [now, change];
  const names = new Set(services.map((service) => service.name));
  views.forEach((_, name) => names.has(name) || views.delete(name));
  const instances = services.reduce((all, service) => all + service.backends.length, 0);
  // One that is not known makes the sum unknown.
  const isKnown = services.every((service) => service.rate != null);
  const picks = isKnown ? services.reduce((all, service) => all + service.rate, 0) : null;
  const said = [many(services.length, "service", "services"), many(instances, "instance", "instances")];
  write(id("totals"), `${said.join(", ")}, ${rate(picks)} picks/s`);
  id("search").hidden = services.length <= FEW && id("filter").value === "";
  list();
}

function list() {
  const wanted = id("filter").value.trim().toLowerCase();
  const text = ({ name, listen, description }) => [name, ...listen, description ?? ""].join(" ").toLowerCase();
  const found = wanted === "" ? services : services.filter((service) => text(service).includes(wanted));
  const shown = found.slice(0, limit);
  for (const service of shown) view(service.name).show(service);
  arrange(id("list"), shown.map((service) => view(service.name).element));
  write(id("found"), summary(found.length, wanted));
  const left = found.length - shown.length;
  writeOrHide(id("more"), left > 0 ? `Show ${Math.min(left, AT_ONCE)} more of ${count(left)}` : "");
}

/** Also of a service that the filter hides: whether it is open is kept. */
function view(name) {
  if (!views.has(name)) views.set(name, new View(services.length <= FEW));
  return views.get(name);
}

function summary(found, wanted) {
  if (services.length === 0) return "Nothing is attached.";
  return wanted === "" ? "" : `${many(found, "service fits", "services fit")} the filter.`;
}

class View {
  constructor(isOpen) {
    this.element = copy("service");
    this.element.open = isOpen;
    this.element.addEventListener("toggle", () => this.#inside());
  }

  show(service) {
    this.service = service;
    write(part(this.element, "name"), service.name);
    write(part(this.element, "listen"), service.listen.join(", "));
    say(part(this.element, "state"), ...health(service));
    write(part(this.element, "rate"), rate(service.rate));
    this.#inside();
  }

  #inside() {
    if (!this.element.open || !this.service) return;
    if (!this.body) {
      this.body = copy("body");
      this.instances = new Instances(this.body, onChange);
      this.element.append(this.body);
    }
    fill(this.body, this.service);
    draw(this.body, this.service.line);
    this.instances.show(this.service);
  }
}

function fill(body, service) {
  const { engine, hook, policy, sticky_prefix, degraded } = service;
  writeOrHide(part(body, "description"), service.description);
  writeOrHide(part(body, "degraded"), degraded);
  write(part(body, "engine"), hook ? `${engine} (${hook})` : engine);
  write(part(body, "policy"), sticky_prefix ? `${policy} (${sticky_prefix})` : policy);
  write(part(body, "on_empty"), service.on_empty);
  write(part(body, "guard"), yes(service.guard, "on", "off"));
  for (const name of ["picks", "unserved", "active", "connections"]) write(part(body, name), count(service[name]));
  for (const name of ["received", "sent"]) write(part(body, name), size(service[name]));
}
