// A line of rates, and the same in words.

import { part, write } from "./page.js";
import { SHOWN } from "./rates.js";
import { rate } from "./words.js";

const [WIDTH, HEIGHT] = [120, 40];

export function draw(element, line) {
  const known = line.filter((point) => point.rate != null).map((point) => point.rate);
  const most = Math.max(...known, 1);
  const now = line.at(-1)?.at;
  let pen = "M";
  const steps = line.map((point) => {
    // Where a rate is not known, the line has a gap.
    if (point.rate == null) {
      pen = "M";
      return "";
    }
    const x = WIDTH * (1 - (now - point.at) / SHOWN);
    const y = (HEIGHT - 1) * (1 - point.rate / most) + 0.5;
    const step = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
    return step;
  });
  part(element, "line").setAttribute("d", steps.join(""));
  const said = known.length === 0
    ? "not known yet"
    : `now ${rate(line.at(-1).rate)}, least ${rate(Math.min(...known))}, most ${rate(Math.max(...known))}`;
  write(part(element, "caption"), `Picks a second, last 2 minutes: ${said}`);
}
