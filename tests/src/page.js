// What can be read on the page of `wocut serve`: services by name, each with its figures and its instances by name.
(() => {
  const text = (element) => element?.innerText.trim() ?? null;
  const part = (element, name) => text(element.querySelector(`[data-is="${name}"]`));
  const row = (element) => [part(element, "name"), {
    state: part(element, "state"),
    detail: part(element, "detail"),
    expected: part(element, "expected"),
    measured: part(element, "measured"),
    rate: part(element, "rate"),
    active: part(element, "active"),
    accept_queue: part(element, "accept_queue"),
    failovers: part(element, "failovers"),
    buttons: [...element.querySelectorAll("button")].map((button) => button.getAttribute("aria-label")),
  }];
  const service = (element) => {
    const names = ["listen", "state", "rate", "engine", "policy", "picks", "unserved", "active", "connections",
      "received", "sent", "description", "caption"];
    const figures = Object.fromEntries(names.map((name) => [name, part(element, name)]));
    const rows = Object.fromEntries([...element.querySelectorAll("tbody tr")].map(row));
    return [part(element, "name"), { ...figures, instances: rows }];
  };
  const services = Object.fromEntries([...document.querySelectorAll(".service")].map(service));
  const [link, rights] = [text(document.getElementById("link")), text(document.getElementById("rights"))];
  return { link, rights, services, events: [...document.querySelectorAll("#events li")].map(text) };
})()
