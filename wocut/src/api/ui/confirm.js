// Asks before a change is made, and says what was refused.

import { id, write } from "./page.js";

let act = null;
let turn = 0;

id("cancel").addEventListener("click", () => id("confirm").close());
id("go").addEventListener("click", go);

/** Asks, and on yes acts; what that throws is told, and can be tried again. */
export function confirm(title, text, word, action) {
  act = action;
  turn += 1;
  write(id("confirm-title"), title);
  write(id("confirm-text"), text);
  write(id("confirm-error"), "");
  write(id("go"), word);
  id("confirm").showModal();
}

async function go() {
  const [mine, now] = [act, turn];
  if (!mine) return;
  // However often it is pressed, it is done once.
  act = null;
  write(id("confirm-error"), "");
  let error = null;
  try {
    await mine();
  } catch (thrown) {
    error = thrown;
  }
  // Somebody may have gone on to another question meanwhile.
  if (turn !== now) return;
  if (!error) return id("confirm").close();
  act = mine;
  write(id("confirm-error"), error.message);
}
