// All parts are there: draw what the address asks for.

function arrive() {
  const named = readAddress();
  for (const redraw of redraws) redraw(state);
  if (named.some((name) => EXPLORER.includes(name))) root.closest("section").scrollIntoView({ behavior: "instant" });
}

root.replaceChildren(h("div", { class: "controls" }, field("Search", search), filters), status, list, more);
arrive();
window.addEventListener("hashchange", arrive);
// For whoever wants to compute more in the browser's console, and for the tests.
globalThis.bakeoff = { data, state, set, settings, recommend, billOf, paybacks, worth, handChecked, estimates, marks, rows: book.rows };
