// Figures and states, as people read them. What is not known is a dash, and never 0.

const NONE = "–";
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const numbers = new Intl.NumberFormat("en");

export function count(figure) {
  return figure == null ? NONE : numbers.format(figure);
}

export function percent(part) {
  return part == null ? NONE : `${(100 * part).toFixed(1)} %`;
}

export function rate(figure) {
  if (figure == null) return NONE;
  return figure < 10 ? figure.toFixed(1) : numbers.format(Math.round(figure));
}

export function size(bytes) {
  if (bytes == null) return NONE;
  let unit = 0;
  for (; bytes >= 1000 && unit < UNITS.length - 1; unit += 1) bytes /= 1000;
  return `${unit === 0 ? bytes : bytes.toPrecision(3)} ${UNITS[unit]}`;
}

export function many(figure, one, more) {
  return `${count(figure)} ${figure === 1 ? one : more}`;
}

export function yes(is, word, other) {
  return is == null ? NONE : is ? word : other;
}

/** Whether new connections may come to an instance, and else why not: a word, and what kind of a word it is. */
export function state(instance) {
  if (instance.admin !== "ready") return [instance.admin === "drain" ? "draining" : "maintenance", instance.admin];
  if (instance.health === "down") return ["down", "bad"];
  if (instance.listening === false) return ["not listening", "bad"];
  if (instance.refused) return ["not used", "bad"];
  if (instance.weight === 0) return ["weight 0", "drain"];
  if (instance.backup && instance.share === 0) return ["backup", "idle"];
  if (instance.throttle != null) return [`slow start, ${instance.throttle} %`, "good"];
  return ["serving", "good"];
}

/** What that comes from. */
export function detail({ admin, health, listening, backup, weight, refused }) {
  const said = [admin, `health ${health}`];
  if (listening != null) said.push(listening ? "listening" : "not listening");
  if (weight !== 1) said.push(`weight ${weight}`);
  if (backup) said.push("backup");
  if (refused) said.push(refused);
  return said.join(", ");
}

/** The same for all instances of a service. */
export function health(service) {
  const serving = service.backends.filter((instance) => state(instance)[1] === "good").length;
  const all = service.backends.length;
  if (all === 0) return ["no instances", "bad"];
  const kind = serving === 0 ? "bad" : serving < all ? "warn" : "good";
  return [`${serving} of ${all} serving`, kind];
}

export function emptied(on_empty, name) {
  switch (on_empty) {
    case "pass": return `new connections go to whatever listens on the port of ${name} itself, if anything does`;
    case "drop": return `new connections to ${name} get no answer`;
    default: return `new connections to ${name} are refused`;
  }
}
