// The token of whoever looks. It is kept in this tab alone, and goes nowhere but to the daemon.

import { id, write } from "./page.js";

const KEY = "wocut-token";

export function hasToken() {
  return sessionStorage.getItem(KEY) !== null;
}

/** What a request takes with it. */
export function headers() {
  return hasToken() ? { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` } : {};
}

export function forget() {
  sessionStorage.removeItem(KEY);
}

/** Waits until somebody gives one. Why the one before was refused is told. */
export async function ask(why) {
  write(id("ask-error"), hasToken() ? `Not let in: ${why}.` : "");
  forget();
  const rest = [id("services"), id("happened"), id("forget")];
  rest.forEach((element) => (element.hidden = true));
  id("ask").hidden = false;
  id("token").focus();
  await new Promise((resolve) => {
    id("ask").querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      if (take(id("token"))) resolve();
    };
  });
  id("ask").hidden = true;
  [id("services"), id("happened")].forEach((element) => (element.hidden = false));
}

function take(input) {
  const text = input.value.trim();
  // Nothing else can be in a header.
  if (!/^[!-~]+$/.test(text)) {
    write(id("ask-error"), "A token has letters, digits and signs of ASCII, and no blanks.");
    return false;
  }
  sessionStorage.setItem(KEY, text);
  input.value = "";
  return true;
}
