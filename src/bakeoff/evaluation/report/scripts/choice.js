// What `recommend.py` and `money.py` compute, for other prices and another delta. A test holds one against the other
// over a grid of settings: nothing here may drift.

const book = data.what_if;
const rowOf = new Map(book.rows.map((row) => [row.system, row]));

// `settings`: hour, utilisation, scale (of the prices of tokens), questions, changes (of documents), wrong (answer), delta, by ("tokens" or "dollars")

// ---- money

function dollarsFor(system, [fresh, cached, output, seconds], settings) {
  const prices = book.models[system];
  if (prices) return (settings.scale * (fresh * prices.input + cached * prices.cached + output * prices.output)) / 1e6;
  return (seconds * settings.hour) / 3600 / settings.utilisation;
}

function billOf(row, settings) {
  const question = dollarsFor(row.system, row.means, settings);
  const right = 1 - row.wrong;
  const built = ((row.training + row.indexing) * settings.hour) / 3600 + row.labelling;
  const ends = book.models[row.system] ? [question, question] : book.busy.map((busy) => (question * settings.utilisation) / busy);
  const upkeep = (settings.changes * row.refresh * settings.hour) / 3600;
  const plain = question + (built + upkeep) / settings.questions;
  return { system: row.system, question, ends, perRight: right ? question / right : null, built, upkeep, plain,
    total: plain + row.wrong * settings.wrong };
}

// Each system that was trained against the best that was not.
function paybacks(settings) {
  const plain = book.rows.find((row) => row.eligible && !row.trained);
  if (!plain) return [];
  const [there, found] = [data.systems.indexOf(plain.system), []];
  for (const row of book.rows.filter((one) => one.trained)) {
    const here = data.systems.indexOf(row.system);
    const both = data.questions.filter(({ answers }) => [answers[here], answers[there]].every((answer) => answer && !answer.error && answer.wall !== null));
    if (new Set(both.map((question) => question.group)).size < 2) continue;
    const [mine, theirs] = [billOf(row, settings), billOf(plain, settings)];
    const upkeep = (theirs.upkeep - mine.upkeep) / settings.questions;
    const saved = both.map(({ answers }) => dollarsFor(plain.system, answers[there].usage, settings) - dollarsFor(row.system, answers[here].usage, settings) + upkeep);
    const saving = around(...meanAndError(saved, both.map((question) => question.group)), data.checking.critical);
    const build = mine.built - theirs.built;
    const after = (one) => (build <= 0 ? (one >= 0 ? 0 : null) : one > 0 ? build / one : null);
    const gap = row.score - plain.score;
    found.push({ system: row.system, other: plain.system, build, gap, worthless: gap < -book.worse, questions: [after(saving.estimate), after(saving.high), after(saving.low)] });
  }
  return found;
}

// The values of a wrong answer between which `system` is the cheapest, wrong answers counted; null where it never is.
function worth(system, settings) {
  const mine = rowOf.get(system);
  let [low, high, below, above] = [0, null, "", ""];
  for (const other of book.rows.filter((row) => row.eligible)) {
    const costs = [billOf(mine, settings).plain, billOf(other, settings).plain];
    const dearer = Math.abs(costs[0] - costs[1]) > 1e-9 * costs[0] ? costs[0] - costs[1] : 0;
    const better = other.wrong - mine.wrong;
    if (better > 0 && dearer / better > low) [low, below] = [dearer / better, other.system];
    else if (better < 0 && (high === null || dearer / better < high)) [high, above] = [dearer / better, other.system];
    else if (better === 0 && dearer > 0) return null;
  }
  return high === null || low <= high ? { low, below, high, above } : null;
}

// ---- the choice

function gapOf(a, b) {
  const known = book.gaps[`${a}\n${b}`];
  if (known) return { estimate: known[0], low: known[1], high: known[2], n: known[3], p: known[4] };
  const turned = book.gaps[`${b}\n${a}`];
  if (turned) return { estimate: -turned[0], low: -turned[2], high: -turned[1], n: turned[3], p: turned[4] };
  return { estimate: 0, low: -1, high: 1, n: 0, p: 1 };
}

function errorsAbove({ low, high }, bound) {
  const [middle, half] = [(low + high) / 2, (high - low) / 2];
  return half ? ((middle - bound) / half) * book.z : middle > bound ? Infinity : -Infinity;
}

function questionsNeeded({ estimate, low, high, n }, bound) {
  if (!(low <= bound && bound <= high)) return 0;
  const [distance, half] = [Math.abs(estimate - bound), (high - low) / 2];
  if (distance === 0) return null;
  const times = ((half / distance) * (book.z + book.power)) / book.z;
  const wanted = n * (times * times);
  return wanted > 100000 ? null : Math.max(1, Math.ceil(wanted - n));
}

// The smallest number, with two digits; a half goes to the even one, as in Python.
function fewest(ways) {
  const numbers = ways.filter(Boolean);
  if (!numbers.length) return null;
  const number = Math.min(...numbers);
  const unit = 10 ** Math.max(0, String(number).length - 2);
  const [whole, rest] = [Math.floor(number / unit), number % unit];
  return (whole + (2 * rest > unit || (2 * rest === unit && whole % 2) ? 1 : 0)) * unit;
}

function holm(values) {
  const adjusted = [];
  let largest = 0;
  values.map((_, i) => i).sort((a, b) => values[a] - values[b]).forEach((i, rank) => {
    largest = Math.max(largest, Math.min(1, (values.length - rank) * values[i]));
    adjusted[i] = largest;
  });
  return adjusted;
}

function rivalsOf(pick, inside, cheaper, delta) {
  const less = inside.filter((row) => cheaper(row, pick));
  const adjusted = holm(less.map((row) => gapOf(row.system, pick.system).p));
  const found = less.map((row, i) => {
    const gap = gapOf(row.system, pick.system);
    const ways = [questionsNeeded(gap, -delta), gap.estimate < 0 ? questionsNeeded(gap, 0) : null];
    return { system: row.system, settled: adjusted[i] < book.level && gap.estimate < 0, errors: errorsAbove(gap, -delta), more: fewest(ways) };
  });
  for (const row of inside) {
    if (row === pick || less.includes(row)) continue;
    const gap = gapOf(pick.system, row.system);
    found.push({ system: row.system, settled: gap.low > -delta, errors: -errorsAbove(gap, -delta), more: fewest([questionsNeeded(gap, -delta)]) });
  }
  return found;
}

function recommend(settings) {
  const inside = book.rows.filter((row) => row.inside);
  if (!inside.length) return { system: null, confidence: "UNDECIDED", more: null, between: [] };
  const costs = new Map(inside.map((row) => [row, settings.by === "dollars" ? billOf(row, settings).question : row.computed]));
  const cheaper = (a, b) => costs.get(a) * book.same < costs.get(b);
  const top = inside[0];
  const proven = inside.filter((row) => row === top || gapOf(row.system, top.system).low > -settings.delta);
  const cheapest = proven.reduce((best, row) => (costs.get(row) < costs.get(best) ? row : best));
  const pick = proven.find((row) => !cheaper(cheapest, row));
  const unsettled = rivalsOf(pick, inside, cheaper, settings.delta).filter((rival) => !rival.settled);
  if (!unsettled.length) return { system: pick.system, confidence: "CLEAR", more: 0, between: [] };
  const rival = unsettled.reduce((best, one) => (one.errors > best.errors ? one : best));
  const lean = rival.errors <= book.doubt;
  return { system: lean ? pick.system : null, confidence: lean ? "LEAN" : "UNDECIDED", more: rival.more, between: [pick.system, rival.system] };
}
