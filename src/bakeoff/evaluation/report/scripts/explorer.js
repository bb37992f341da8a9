// The question explorer.

const root = document.getElementById("explorer");
const SIGNS = { right: "✓ right", wrong: "✗ wrong", error: "! failed", unscored: "– not scored" };
const SHOWS = { all: "All", wrong: "All wrong", differ: "Systems differ" };
if (data.checking.sample.length) SHOWS.check = "Check by hand";
const CELLS = ["11", "10", "01", "00"]; // first and second system of the pair, 1 for right
const ORDERS = { asked: "as asked", hardest: "hardest first", slowest: "slowest first", longest: "longest answers first" };
const PAGE = 20;
const EXPLORER = ["q", "kind", "show", "a", "b", "cell", "at", "order"];
let shown = PAGE;

remember("q", "", (text) => text);
remember("kind", "", oneOf(data.kinds));
remember("show", "all", oneOf(Object.keys(SHOWS)));
remember("a", data.pair[0], oneOf(data.systems));
remember("b", data.pair[1], oneOf(data.systems));
remember("cell", "", oneOf(CELLS));
remember("order", "asked", oneOf(Object.keys(ORDERS)));

// ---- filters

const verdict = (question, name) => (question.answers[data.systems.indexOf(name)] || { verdict: "unscored" }).verdict;
const scored = (question) => question.answers.filter((answer) => answer && answer.verdict !== "unscored");
const cellOf = (question) => {
  const pair = [verdict(question, state.a), verdict(question, state.b)];
  return pair.includes("unscored") ? "" : pair.map((one) => (one === "right" ? "1" : "0")).join("");
};

function matches(question) {
  if (state.kind && question.kind !== state.kind) return false;
  const rights = scored(question).filter((answer) => answer.verdict === "right").length;
  if (state.show === "wrong" && (rights || !scored(question).length)) return false;
  if (state.show === "differ" && (rights === 0 || rights === scored(question).length)) return false;
  if (ids.has(state.q)) return question.id === state.q;
  return question.haystack.includes(state.q.toLowerCase());
}

// What a question is ordered by, the largest first; equals stay as they were asked.
const WEIGHTS = {
  asked: () => 0,
  hardest: (question) => -mean([0, ...question.answers.map((answer) => (answer && answer.score) || 0)]),
  slowest: (question) => Math.max(0, ...question.answers.map((answer) => (answer ? answer.wall : 0))),
  longest: (question) => Math.max(0, ...question.answers.map((answer) => (answer ? answer.text.length : 0))),
};

const ids = new Set(data.questions.map((question) => question.id));

for (const question of data.questions) {
  const texts = question.answers.map((answer) => (answer ? answer.text : ""));
  question.haystack = [question.id, question.question, ...question.references, ...texts].join("\n").toLowerCase();
}

// ---- one question

// `text` with `tag` around the spans, which are sorted and disjoint.
function marked(text, spans, tag, attributes) {
  const parts = [];
  let at = 0;
  for (const [start, end] of spans) {
    parts.push(text.slice(at, start), h(tag, attributes, text.slice(start, end)));
    at = end;
  }
  return [...parts, text.slice(at)];
}

function passage([chunk, score], rank, marks) {
  const { document_id, place, text } = data.chunks[chunk];
  const spans = marks[chunk] || [];
  const about = [`${rank + 1}.`, document_id, place, "score " + score].filter(Boolean).join(" · ");
  const title = h("small", {}, about + (spans.length ? " · holds the evidence" : ""));
  return h("div", { class: spans.length ? "passage gold" : "passage" }, title, ...marked(text, spans, "mark", {}));
}

function citation(cite) {
  const where = `[${cite.number}] ${cite.document_id} `;
  return h("li", {}, where, h("q", {}, cite.quote), cite.found ? " (found by searching)" : "");
}

const oneLine = (text) => text.replace(/[ \t\n\r\f\v]+/g, " ").replace(/^ | $/g, "");
const detailOf = (pieces) => pieces.map((piece) => (typeof piece === "number" ? oneLine(data.chunks[piece].text) : piece)).join("");

function steps(trace, details) {
  const box = h("details", {}, h("summary", {}, `${trace.length} steps`));
  box.addEventListener("toggle", () => box.append(...trace.map(([head, detail]) =>
    h("div", { class: "step" }, h("small", {}, head), h("pre", {}, detailOf(details[detail]))))), { once: true });
  return box;
}

const tokensOf = ([fresh, cached, output]) => `${(fresh + cached).toLocaleString("en")} + ${output.toLocaleString("en")} tokens`;

function card(name, answer, question) {
  if (!answer) return h("div", { class: "answer" }, h("header", {}, h("b", {}, name)), "not asked");
  const facts = (...parts) => parts.every((part) => typeof part === "string")
    ? h("div", { class: "facts" }, parts.filter(Boolean).join(" · ")) : h("div", { class: "facts" }, ...parts);
  const found = answer.passages.filter(([chunk]) => question.marks[chunk]).length;
  const held = question.evidence ? `, ${found ? "evidence among them" : "evidence missing"}` : "";
  const passages = h("details", {}, h("summary", {}, `${answer.passages.length} passage${answer.passages.length === 1 ? "" : "s"}${held}`));
  passages.addEventListener("toggle", () => passages.append(...answer.passages.map((one, rank) => passage(one, rank, question.marks))),
    { once: true });
  return h("div", { class: "answer " + answer.verdict },
    h("header", {}, h("b", {}, name), h("span", { class: "sign" }, SIGNS[answer.verdict])),
    h("p", { class: answer.text ? "said" : "said empty" }, ...(answer.error || !answer.text ? [answer.error || "no text"] : marked(answer.text, answer.unsupported, "u", {}))),
    facts(answer.outcome === "answered" ? "" : answer.outcome, ...answer.scores),
    answer.unsupported.length ? facts("underlined: not found in the passages") : "",
    ...answer.notes.map((note) => facts(note)),
    facts(answer.seconds, tokensOf(answer.usage), answer.confidence),
    answer.citations.length ? h("ul", { class: "cites" }, ...answer.citations.map(citation)) : "",
    ...answer.again.map(([given, said]) => facts(h("b", {}, given + ": "), said || "no text")),
    answer.passages.length ? passages : "",
    answer.trace.length ? steps(answer.trace, question.details) : "");
}

function row(question) {
  const link = "#q=" + encodeURIComponent(question.id);
  const wanted = question.references.join("  |  ") || (question.answerable ? "none given" : "none: the right answer is to decline");
  return h("article", { class: "question" },
    h("div", { class: "about" }, h("a", { href: link }, question.id), h("span", {}, question.kind)),
    h("h3", { dir: "auto" }, question.question),
    h("p", { class: "reference" }, h("span", { class: "label" }, "Reference"), wanted),
    h("div", { class: "answers" }, ...data.systems.map((name, i) => card(name, question.answers[i], question))));
}

// ---- the page

function press(label, pressed, change, ...children) {
  return h("button", { type: "button", "aria-pressed": pressed, "aria-label": label, onclick: () => set(change) }, ...children);
}

function choose(label, name, values, any) {
  const options = values.map((value) => h("option", { value }, value));
  if (any) options.unshift(h("option", { value: "" }, any));
  const select = h("select", { "aria-label": label, onchange: () => set({ [name]: select.value }) }, ...options);
  select.value = state[name];
  return select;
}

function controls(counts) {
  const kinds = field("Kind", choose("Kind of question", "kind", data.kinds, "every kind"));
  const order = h("select", { "aria-label": "Order of the questions", onchange: () => set({ order: order.value }) },
    ...Object.entries(ORDERS).map(([value, label]) => h("option", { value }, label)));
  order.value = state.order;
  const shows = Object.entries(SHOWS).map(([show, label]) => press(label, state.show === show, { show }, label));
  const button = (cell) => {
    const words = [...cell].map((right) => (right === "1" ? "right" : "wrong"));
    const label = `${state.a} ${words[0]}, ${state.b} ${words[1]}: ${counts[cell]} questions`;
    return press(label, state.cell === cell, { cell: state.cell === cell ? "" : cell }, String(counts[cell]));
  };
  const head = (name, sign) => h("span", { title: name }, `${sign} ${name}`);
  const square = h("div", { class: "square" }, h("span", {}), head(state.b, "✓"), head(state.b, "✗"),
    head(state.a, "✓"), button("11"), button("10"), head(state.a, "✗"), button("01"), button("00"));
  const pair = h("div", { class: "pair" }, choose("First system", "a", data.systems), "against", choose("Second system", "b", data.systems));
  if (state.show === "check") return [field("Show", h("div", { class: "segments" }, ...shows))];
  return [data.kinds.length > 1 ? kinds : "", field("Show", h("div", { class: "segments" }, ...shows)),
    field("Order", order), data.systems.length > 1 ? field("Two systems, right or wrong", pair, square) : ""];
}

function render() {
  const checks = state.show === "check";
  const matching = data.questions.filter(matches);
  const counts = { "11": 0, "10": 0, "01": 0, "00": 0 };
  for (const question of matching) if (cellOf(question)) counts[cellOf(question)] += 1;
  const weight = WEIGHTS[state.order];
  const listed = matching.filter((question) => !state.cell || cellOf(question) === state.cell)
    .map((question) => [weight(question), question]).sort((a, b) => b[0] - a[0]).map(([, question]) => question);
  const focus = document.activeElement && document.activeElement.getAttribute("aria-label");
  filters.replaceChildren(...controls(counts));
  if (search.value !== state.q) search.value = state.q;
  const clear = h("button", { type: "button", onclick: () => set({ q: "", kind: "", show: "all", cell: "" }) }, "Clear filters");
  status.replaceChildren(`${listed.length} of ${data.questions.length} questions`, listed.length < data.questions.length ? clear : "");
  status.hidden = search.closest("fieldset").hidden = checks;
  list.replaceChildren(...(checks ? [checkPanel()] : listed.slice(0, shown).map(row)));
  more.hidden = checks || listed.length <= shown;
  const same = focus && [...root.querySelectorAll("[aria-label]")].find((one) => one.getAttribute("aria-label") === focus);
  if (same) same.focus();
}

const search = h("input", { type: "search", "aria-label": "Search", placeholder: "words of a question or answer",
  oninput: () => set({ q: search.value }) });
const filters = h("div", { class: "controls" });
const status = h("div", { class: "count", role: "status" });
const list = h("div", {});
const more = h("button", { type: "button", class: "more", onclick: () => { shown += PAGE; render(); } }, "Show more questions");

redraws.push((change) => {
  if (!Object.keys(change).some((name) => EXPLORER.includes(name))) return;
  shown = PAGE;
  render();
});
