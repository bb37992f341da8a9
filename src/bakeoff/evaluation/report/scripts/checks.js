// Checking by hand: answers of a random sample are marked right or wrong, without names, and the estimate follows.

const checking = data.checking;
remember("at", 1, (text) => {
  const at = numberIn(1, checking.sample.length)(text);
  return Number.isInteger(at) ? at : undefined;
});
const SHELF = "bakeoff checks " + checking.run;
const key = (system, id) => system + "\n" + id;
const marks = new Map(checking.marks.map(([system, place, right]) => [key(data.systems[system], data.questions[place].id), right]));
let kept = true; // whether marks outlive this page

try {
  for (const [name, right] of JSON.parse(localStorage.getItem(SHELF) || "[]")) {
    if (right === null) marks.delete(name);
    else marks.set(name, right);
  }
} catch {
  kept = false;
}

function keep() {
  const cleared = checking.marks.map(([system, place]) => key(data.systems[system], data.questions[place].id));
  const gone = cleared.filter((name) => !marks.has(name)).map((name) => [name, null]);
  try {
    localStorage.setItem(SHELF, JSON.stringify([...marks, ...gone]));
  } catch {
    kept = false;
  }
}

// ---- the estimate, as `Comparison.hand_checked`

function estimates() {
  const found = {};
  for (const system of checking.running) {
    const i = data.systems.indexOf(system);
    const scored = data.questions.filter((question) => question.answers[i] && question.answers[i].score !== null);
    const hand = new Map();
    scored.forEach((question, place) => {
      const right = marks.get(key(system, question.id));
      if (right !== undefined) hand.set(place, right);
    });
    if (hand.size < checking.least) continue;
    const metric = scored.map((question) => question.answers[i].score);
    const interval = handChecked(metric, hand, scored.map((question) => question.group), checking.critical);
    found[system] = { n: hand.size, metric: mean(metric), ...interval };
  }
  return found;
}

function agreement() {
  let same = 0, n = 0;
  for (const question of data.questions) {
    data.systems.forEach((system, i) => {
      const right = marks.get(key(system, question.id));
      const answer = question.answers[i];
      if (right === undefined || !answer || answer.score === null) return;
      n += 1;
      same += (answer.score >= checking.right) === Boolean(right);
    });
  }
  return [same, n];
}

// ---- the file that `bakeoff report` reads

function sheet() {
  const inert = (text) => (/^[=+\-@\t\r]/.test(text) ? "'" + text : text);
  const cell = (text) => (/[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text);
  const rows = [["example", "system", "question", "references", "answer", "right"]];
  for (const question of data.questions) {
    data.systems.forEach((system, i) => {
      const right = marks.get(key(system, question.id));
      if (right === undefined || !question.answers[i]) return;
      const wanted = question.answerable ? question.references.join(" | ") : "(to decline)";
      const texts = [question.id, system, question.question, wanted, question.answers[i].text].map(inert);
      rows.push([...texts, right ? "yes" : "no"]);
    });
  }
  return rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function save() {
  const address = URL.createObjectURL(new Blob([sheet()], { type: "text/csv" }));
  h("a", { href: address, download: "checks.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

// ---- one question at a time

// Equal texts are one answer, marked once; their order tells nothing of the system.
function blind(question) {
  const texts = new Map();
  data.systems.forEach((system, i) => {
    const answer = question.answers[i];
    if (answer) texts.set(answer.text, [...(texts.get(answer.text) || []), system]);
  });
  const scramble = (text) => [...question.id + text].reduce((code, letter) => Math.imul(code ^ letter.codePointAt(0), 16777619), 2166136261);
  return [...texts].map(([text, systems]) => ({ text, systems })).sort((a, b) => scramble(a.text) - scramble(b.text));
}

const markOf = (question, answer) => answer.systems.map((system) => marks.get(key(system, question.id))).find((one) => one !== undefined);
const sampled = () => data.questions[checking.sample[state.at - 1]];

function mark(question, answer, right) {
  for (const system of answer.systems) {
    if (right === null) marks.delete(key(system, question.id));
    else marks.set(key(system, question.id), right);
  }
  keep();
}

function verdicts(question, answer, place) {
  const button = (label, right) => {
    const pressed = markOf(question, answer) === right;
    const element = h("button", { type: "button", "aria-pressed": pressed, "aria-label": `Answer ${place + 1} is ${label.toLowerCase()}`,
      onclick: () => { mark(question, answer, pressed ? null : right); render(); } }, label);
    return element;
  };
  return h("div", { class: "segments" }, button("Right", 1), button("Wrong", 0));
}

function estimateTable() {
  const found = estimates();
  const [same, n] = agreement();
  const percent = (share) => (100 * share).toFixed(1);
  const rows = Object.entries(found).map(([system, one]) => h("tr", {}, h("th", { scope: "row" }, system),
    h("td", {}, String(one.n)), h("td", {}, percent(one.metric)),
    h("td", {}, percent(one.estimate), h("small", {}, `[${percent(one.low)}, ${percent(one.high)}]`))));
  if (!rows.length) return h("p", { class: "note" }, `The estimate begins with ${checking.least} checked answers of a system.`);
  const head = ["System", "checked", `${checking.metric}, all answers`, "right, corrected by your checks"];
  return h("div", {},
    h("table", { class: "estimates" }, h("thead", {}, h("tr", {}, ...head.map((one) => h("th", { scope: "col" }, one)))), h("tbody", {}, ...rows)),
    h("p", { class: "note" }, `Percent with 95% intervals: what people would call right of all answers (PPI++). The metric agrees with ${same} of ${n} checks.`));
}

function checkPanel() {
  const question = sampled();
  const answers = blind(question);
  const wanted = question.references.join("  |  ") || (question.answerable ? "none given" : "none: the right answer is to decline");
  const go = (label, step) => {
    const at = state.at + step;
    const attributes = { type: "button", onclick: () => set({ at }) };
    if (at < 1 || at > checking.sample.length) attributes.disabled = "";
    return h("button", attributes, label);
  };
  const done = checking.sample.filter((place) => data.systems.some((system) => marks.has(key(system, data.questions[place].id)))).length;
  const storage = kept ? "Marks are kept in this browser." : "This browser keeps nothing for this page: save before you close it.";
  return h("div", { class: "checking" },
    h("p", { class: "note" }, "Questions in random order, answers without names; equal answers are one. Stop when you like: 50 questions are plenty. ",
      h("kbd", {}, "R"), " right, ", h("kbd", {}, "W"), " wrong, for the answer in focus or else the first without a mark; ", h("kbd", {}, "←"), " ", h("kbd", {}, "→"), " other questions."),
    h("article", { class: "question" },
      h("h3", { dir: "auto" }, question.question),
      h("p", { class: "reference" }, h("span", { class: "label" }, "Reference"), wanted),
      h("div", { class: "answers" }, ...answers.map((answer, place) => h("div", { class: "answer", "data-place": place },
        h("p", { class: answer.text ? "said" : "said empty" }, answer.text || "no text"), verdicts(question, answer, place))))),
    h("div", { class: "toolbar" }, go("Previous question", -1), go("Next question", 1),
      h("span", { class: "note", role: "status" }, `Question ${state.at} of ${checking.sample.length}; ${done} checked`)),
    estimateTable(),
    h("div", { class: "toolbar" }, h("button", { type: "button", onclick: save }, "Save checks.csv"),
      h("span", { class: "note" }, `${storage} The file goes into the report with: bakeoff report --checked checks.csv`)));
}

function onKey(event) {
  if (state.show !== "check" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && event.target.closest(".scroll")) return; // there, arrows scroll
  if (step) {
    const at = state.at + step;
    if (at >= 1 && at <= checking.sample.length) set({ at });
    return;
  }
  const right = { r: 1, w: 0 }[event.key.toLowerCase()];
  if (right === undefined) return;
  const question = sampled();
  const answers = blind(question);
  const focused = event.target.closest("[data-place]");
  const answer = focused ? answers[focused.dataset.place] : answers.find((one) => markOf(question, one) === undefined);
  if (!answer) return;
  mark(question, answer, right);
  const last = answers.every((one) => markOf(question, one) !== undefined);
  if (last && !focused && state.at < checking.sample.length) set({ at: state.at + 1 });
  else render();
}

document.addEventListener("keydown", onKey);
