// The parts of the page: found, copied and written.

const SHAPES = {
  good: "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1z",
  drain: "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1zM6 3.6a2.4 2.4 0 1 1 0 4.8A2.4 2.4 0 1 1 6 3.6z",
  maint: "M1.5 1.5h9v9h-9zM4 4v4h4V4z",
  bad: "M6 .5L11.8 11H.2z",
  warn: "M6 .5L11.8 11H.2z",
  idle: "M6 .3L11.7 6 6 11.7.3 6z",
};

export function id(name) {
  return document.getElementById(name);
}

/** What has this name within an element. */
export function part(element, name) {
  return element.querySelector(`[data-is="${name}"]`);
}

/** A new element, made after a template. */
export function copy(template) {
  return id(template).content.firstElementChild.cloneNode(true);
}

/** Writes text where it is another. Whatever comes from the daemon is text here, and nothing else. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The same, and hides what has no text. */
export function writeOrHide(element, text) {
  write(element, text ?? "");
  element.hidden = !text;
}

/** Says a word with the shape of its kind before it: no state is told by a colour alone. */
export function say(element, word, kind) {
  const mark = part(element, "mark");
  if (mark.getAttribute("d") !== SHAPES[kind]) mark.setAttribute("d", SHAPES[kind]);
  element.dataset.kind = kind;
  write(part(element, "word"), word);
}

/** Makes elements the children of another, in this order, and moves none that is where it should be. */
export function arrange(parent, children) {
  const kept = new Set(children);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  children.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
}
