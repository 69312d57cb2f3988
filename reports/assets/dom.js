// Elements in one call. Text is only ever set as text.

function put(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(9)) if (child !== undefined && child !== null && child !== false) element.append(child);
  return element;
}
const h = (tag, attributes, ...children) => put(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => put(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
const byId = (id) => document.getElementById(id);
// New content in the place of the old.
function refill(id, ...children) {
  byId(id).replaceChildren();
  put(byId(id), {}, children);
}

// A link to a step.
const toStep = (at, text) => h('a', { href: '#step=' + (at + 1), 'data-step': at }, text);
