// Dollars for a thousand questions, with what was built and what wrong answers cost, by how many are asked.

const CURVES = { width: 900, height: 300, left: 64, right: 150, top: 14, bottom: 40, least: 100, most: 1e9, points: 60 };

function s(tag, attributes, ...children) {
  const element = document.createElementNS(document.querySelector("svg").namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function decades(low, high) {
  const marks = [];
  for (let mark = Math.ceil(Math.log10(low)); mark <= Math.floor(Math.log10(high)); mark += 1) marks.push(10 ** mark);
  return marks;
}

// Labels at the ends of their curves, pushed apart from the top down and, where that leaves the frame, up again.
function spread(ends, gap, bottom) {
  const sorted = [...ends].sort((a, b) => a.y - b.y);
  sorted.forEach((one, i) => { one.at = Math.max(one.y, i ? sorted[i - 1].at + gap : -Infinity); });
  for (let i = sorted.length - 1; i >= 0; i -= 1) sorted[i].at = Math.min(sorted[i].at, i + 1 < sorted.length ? sorted[i + 1].at - gap : bottom);
}

function curves(now, chosen) {
  const { width, height, left, right, top, bottom, least, most, points } = CURVES;
  const asked = Array.from({ length: points }, (_, i) => least * (most / least) ** (i / (points - 1)));
  const lines = book.rows.map((row) => ({ system: row.system,
    costs: asked.map((questions) => 1000 * billOf(row, { ...now, questions }).total) })).filter(({ costs }) => costs.every((one) => one > 0));
  if (!lines.length) return [];
  const all = lines.flatMap(({ costs }) => costs);
  const [low, high] = [Math.min(...all) / 1.1, Math.max(...all) * 1.1];
  const x = (questions) => left + (Math.log(questions / least) / Math.log(most / least)) * (width - left - right);
  const y = (cost) => height - bottom - (Math.log(cost / low) / Math.log(high / low)) * (height - top - bottom);
  for (const line of lines) line.y = y(line.costs.at(-1));
  spread(lines, 15, height - bottom);
  const few = decades(low, high).length > 1 ? decades(low, high) : [low * 1.1, high / 1.1];
  const text = (attributes, words) => s("text", attributes, words);
  return [
    ...few.map((mark) => s("g", {}, s("line", { class: "grid", x1: left, x2: width - right, y1: y(mark), y2: y(mark) }),
      text({ x: left - 8, y: y(mark) + 4, "text-anchor": "end" }, dollars(Number(mark.toPrecision(2)))))),
    ...decades(least, most).filter((_, i) => i % 2 === 0).map((mark) => text({ x: x(mark), y: height - bottom + 18, "text-anchor": "middle" }, mark.toLocaleString("en"))),
    text({ x: width - right, y: height - 4, "text-anchor": "end" }, "questions over its life, log scale"),
    s("line", { class: "base", x1: x(now.questions), x2: x(now.questions), y1: top, y2: height - bottom }),
    ...lines.map(({ system, costs, y: end, at }) => s("g", { class: chosen.includes(system) ? "on" : "" },
      s("polyline", { class: "trend", points: costs.map((cost, i) => `${x(asked[i]).toFixed(1)},${y(cost).toFixed(1)}`).join(" ") }),
      s("line", { class: "leader", x1: width - right + 2, y1: end, x2: width - right + 10, y2: at }),
      text({ x: width - right + 13, y: at + 4 }, system.length > 20 ? system.slice(0, 19) + "…" : system))),
  ];
}
