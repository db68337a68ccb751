// The texts and shapes of a page whose colour is too near to what is behind them, as WCAG 2 computes it: 4.5 for text,
// 3 for shapes that mean something.
(() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((channel, i) => a * channel + (1 - a) * under[i]);
  const ground = (element) => {
    const sheets = [];
    for (let at = element; at; at = at.parentElement) sheets.unshift(parse(getComputedStyle(at).backgroundColor));
    return sheets.reduce((under, sheet) => over(sheet, under), [255, 255, 255]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((channel) => {
      const part = channel / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [less, more] = [light(one), light(other)].sort((a, b) => a - b);
    return (more + 0.05) / (less + 0.05);
  };
  const found = [];
  let looked = 0;
  const look = (element, colour, least, what) => {
    const behind = ground(element);
    const is = ratio(over(parse(colour), behind), behind);
    looked += 1;
    if (is < least) found.push(`${what}: ${is.toFixed(2)}`);
  };
  for (const element of document.querySelectorAll("body *")) {
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const [style, before] = [getComputedStyle(element), getComputedStyle(element, "::before")];
    const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== "");
    if (own.length > 0) look(element, style.color, 4.5, own.map((node) => node.data.trim()).join(" "));
    if (/^".+"$/.test(before.content)) look(element, before.color, 4.5, before.content);
    if (element.matches("path, rect")) {
      look(element, style.fill === "none" ? style.stroke : style.fill, 3, element.outerHTML);
    }
    if (element.matches("button, input")) {
      look(element.parentElement, style.borderTopColor, 3, `edge of ${element.outerHTML}`);
    }
  }
  return { looked, found };
})()
