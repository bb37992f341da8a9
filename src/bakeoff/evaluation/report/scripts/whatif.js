// Sliders for what is assumed: the verdict and the bills follow.

const local = book.rows.some((row) => !book.models[row.system]);
const priced = Object.keys(book.models).length > 0;
const SLIDERS = [
  { name: "questions", label: "Questions over its life", low: 100, high: 1e9, at: book.questions, log: true, unit: "" },
  { name: "changes", label: "Changes of documents over its life, to be followed", low: 0, high: 1e6, at: book.changes, log: true, unit: "" },
  ...(local ? [
    { name: "hour", label: "Dollars for an hour of the machine", low: 0.001, high: 100, at: book.hour, log: true, unit: "$" },
    { name: "utilisation", label: "Share of the time it has work", low: 0.01, high: 1, at: book.utilisation, log: false, step: 0.01, unit: "" },
  ] : []),
  ...(priced ? [{ name: "scale", label: "Prices of tokens, times", low: 0.01, high: 100, at: 1, log: true, unit: "×" }] : []),
  { name: "delta", label: "How much worse the cheaper may be, in points", low: 0, high: 30, at: 100 * book.delta, log: false, step: 0.5, unit: "" },
  { name: "wrong", label: "Dollars that a wrong answer costs", low: 0, high: 1000, at: book.wrong, log: true, unit: "$" },
];
const BY = { tokens: "prompt tokens", dollars: "dollars" };
const otherwiseBy = book.said ? "dollars" : "tokens";
for (const one of SLIDERS) remember(one.name, one.at, numberIn(one.low, one.high));
remember("by", otherwiseBy, oneOf(Object.keys(BY)));

function settings() {
  const { questions, changes, wrong, hour, utilisation, scale, by } = { hour: book.hour, utilisation: book.utilisation, scale: 1, ...state };
  return { questions, changes, wrong, hour, utilisation, scale, by, delta: state.delta / 100 };
}

// ---- numbers in words

function dollars(value) {
  if (value === null) return "–";
  if (value === 0 || Math.abs(value) >= 100) return "$" + Math.round(value).toLocaleString("en");
  return "$" + value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))));
}

const many = (value) => (value === null ? "never" : Math.ceil(value).toLocaleString("en"));
const verdictWords = ({ system, confidence, between }) => (confidence === "CLEAR" ? `Ship ${system}.`
  : confidence === "LEAN" ? `Lean towards ${system}.` : between.length ? `Undecided between ${between.join(" and ")}.` : "Undecided.");

function moreWords({ confidence, more }) {
  if (confidence === "CLEAR") return "these questions settle it";
  return more === null ? "more questions like these are unlikely to settle it" : `about ${more.toLocaleString("en")} more questions would settle it`;
}

function worthWords(system) {
  const found = worth(system, settings());
  if (!found) return `Wrong answers counted, another is cheaper than ${system} whatever a wrong answer costs.`;
  const parts = [found.below && `${found.below} where one costs less than ${dollars(found.low)}`,
    found.above && `${found.above} where one costs more than ${dollars(found.high)}`].filter(Boolean);
  return parts.length ? `Wrong answers counted, ${system} is the cheapest, but ${parts.join(", and ")}.`
    : `Wrong answers counted, ${system} is the cheapest whatever a wrong answer costs.`;
}

// ---- controls

// A slider of 200 steps; a logarithmic one that may be 0 has it as its first step.
const STEPS = 200;
function placeOf({ low, high, log }, value) {
  if (!log) return ((value - low) / (high - low)) * STEPS;
  const bottom = low || high / 1e7;
  return value < bottom ? 0 : (Math.log(value / bottom) / Math.log(high / bottom)) * STEPS;
}
function valueAt({ low, high, log, step }, place) {
  if (!log) return Number((Math.round((low + (place / STEPS) * (high - low)) / step) * step).toPrecision(6));
  if (place === 0) return low;
  const bottom = low || high / 1e7;
  return Number((bottom * (high / bottom) ** (place / STEPS)).toPrecision(2));
}

function slider(one) {
  const range = h("input", { type: "range", min: 0, max: STEPS, step: 1, "aria-label": one.label,
    oninput: () => set({ [one.name]: valueAt(one, Number(range.value)) }) });
  const exact = h("input", { type: "number", min: one.low, max: one.high, step: "any", "aria-label": one.label + ", exactly",
    onchange: () => {
      const value = numberIn(one.low, one.high)(exact.value);
      set({ [one.name]: value === undefined ? state[one.name] : value });
    } });
  const show = () => {
    if (document.activeElement !== range) range.value = placeOf(one, state[one.name]);
    exact.value = state[one.name];
    range.setAttribute("aria-valuetext", `${one.unit === "$" ? "$" : ""}${state[one.name]}`);
  };
  return { element: field(one.label, h("div", { class: "slider" }, range, exact)), show };
}

const sliders = SLIDERS.map(slider);
const byChoice = h("select", { "aria-label": "What cost is counted in", onchange: () => set({ by: byChoice.value }) },
  ...Object.entries(BY).map(([value, label]) => h("option", { value }, label)));
const outcome = h("div", { class: "outcome", role: "status" });
const bills = h("table", {});
const plot = s("svg", { class: "curves", role: "img", viewBox: `0 0 ${CURVES.width} ${CURVES.height}`,
  "aria-label": "Dollars for 1,000 questions by how many are asked over its life; the figures are in the table" });

function paybackCell(one) {
  if (!one) return h("td", {}, "–");
  const [estimate, early, late] = one.questions;
  const points = `${one.gap < 0 ? "−" : "+"}${Math.abs(100 * one.gap).toFixed(1)} points against ${one.other}`;
  if (one.worthless) return h("td", {}, "saves nothing", h("small", {}, points));
  return h("td", {}, many(estimate), h("small", {}, `[${many(early)}, ${many(late)}], ${points}`));
}

function billTable() {
  const now = settings();
  const back = new Map(paybacks(now).map((one) => [one.system, one]));
  const head = ["System", "1,000 questions", "1,000 right answers", "built before the first", "following all changes", "1,000 with what was built and followed", "1,000, wrong answers counted", "pays back after"];
  const all = book.rows.map((row) => [row, billOf(row, now)]);
  const least = Math.min(...all.filter(([row]) => row.eligible).map(([, bill]) => bill.total));
  const cell = (text, small) => h("td", {}, text, small ? h("small", {}, small) : "");
  const lines = all.map(([row, bill]) => {
    const one = back.get(row.system);
    const ends = bill.ends[0] === bill.ends[1] ? "" : `[${bill.ends.map((end) => dollars(1000 * end)).join(", ")}]`;
    return h("tr", now.wrong > 0 && bill.total === least && row.eligible ? { class: "least" } : {}, h("th", { scope: "row" }, row.system),
      cell(dollars(1000 * bill.question), ends), cell(dollars(bill.perRight === null ? null : 1000 * bill.perRight)), cell(dollars(bill.built)), cell(dollars(bill.upkeep)), cell(dollars(1000 * bill.plain)),
      cell(dollars(1000 * bill.total)), paybackCell(one));
  });
  return [h("thead", {}, h("tr", {}, ...head.map((one) => h("th", { scope: "col" }, one)))), h("tbody", {}, ...lines)];
}

function renderWhatIf() {
  for (const one of sliders) one.show();
  byChoice.value = state.by;
  const found = recommend(settings());
  const changed = [...SLIDERS, { name: "by", at: otherwiseBy }].some(({ name, at }) => state[name] !== at);
  const back = h("button", { type: "button", onclick: () => set(Object.fromEntries([...SLIDERS.map(({ name, at }) => [name, at]), ["by", otherwiseBy]])) }, "As it was");
  const system = found.system || found.between[0];
  outcome.replaceChildren(h("p", { class: "said-verdict" }, h("b", {}, verdictWords(found)), " ", h("span", { class: found.confidence }, found.confidence), " " + moreWords(found), " "),
    system ? h("p", {}, worthWords(system)) : "", changed ? back : h("p", { class: "note" }, "With the prices and limits of this report."));
  bills.replaceChildren(...billTable());
  plot.replaceChildren(...curves(settings(), found.system ? [found.system] : found.between));
}

const MONEY = [...SLIDERS.map((one) => one.name), "by"];
redraws.push((change) => { if (Object.keys(change).some((name) => MONEY.includes(name))) renderWhatIf(); });
document.getElementById("what-if").replaceChildren(
  h("div", { class: "sliders" }, ...sliders.map((one) => one.element), field("Cheaper is counted in", byChoice)), outcome,
  h("div", { class: "scroll", role: "region", "aria-label": "Costs", tabindex: "0" }, bills),
  h("p", { class: "note curves-note" }, "Dollars for 1,000 questions with what was built and what wrong answers cost, by how many are asked; where curves cross, one pays back. Dotted: the number above. Bold: the choice."),
  h("div", { class: "scroll", role: "region", "aria-label": "Costs by number of questions", tabindex: "0" }, plot));
