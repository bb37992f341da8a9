// What all parts of the page use. Data reach it as text nodes only, never as markup: answers are hostile text.

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

const data = await unpack(document.getElementById("data").textContent);

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

const field = (title, ...children) => h("fieldset", {}, h("legend", {}, title), ...children);

// ---- state: lives in the address, so that what one sees can be sent to somebody

const state = {};
const remembered = new Map();
const redraws = [];

// `parse` gives undefined for what the address may not hold.
function remember(name, otherwise, parse) {
  remembered.set(name, { otherwise, parse });
}

function readAddress() {
  const hash = new URLSearchParams(location.hash.slice(1));
  for (const [name, { otherwise, parse }] of remembered) {
    const value = hash.has(name) ? parse(hash.get(name)) : undefined;
    state[name] = value === undefined ? otherwise : value;
  }
  return [...hash.keys()];
}

function set(change) {
  Object.assign(state, change);
  const hash = new URLSearchParams();
  for (const [name, { otherwise }] of remembered) {
    if (state[name] !== otherwise) hash.set(name, String(state[name]));
  }
  history.replaceState(null, "", "#" + (hash.toString() || "questions"));
  for (const redraw of redraws) redraw(change);
}

const oneOf = (values) => (text) => (values.includes(text) ? text : undefined);
const numberIn = (low, high) => (text) => {
  const value = Number(text);
  return text.trim() !== "" && value >= low && value <= high ? value : undefined;
};
