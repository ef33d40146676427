// Making and changing elements. Text only ever becomes text: nothing here parses HTML.

export const byId = (id) => document.getElementById(id);

/** Return a new element. `props` are attributes; `class`, `data-…` and `aria-…` among them; `on` holds listeners. */
export function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (value !== undefined && value !== null && value !== false) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Set an element's text, if it is another one. */
export function setText(node, text) {
  const wanted = String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** Set or remove an attribute, if that changes anything. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

/**
 * Make a parent's children match `items`, in order, reusing the nodes of items that stay.
 * `key(item)` tells items apart, `create(item)` makes a node, `update(node, item)` fills it.
 */
export function sync(parent, items, key, create, update) {
  const known = (parent.nodesByKey ??= new Map());
  const wanted = new Set();
  let place = parent.firstChild;
  for (const item of items) {
    const id = key(item);
    wanted.add(id);
    let node = known.get(id);
    if (node === undefined) {
      node = create(item);
      known.set(id, node);
    }
    update(node, item);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  for (const [id, node] of known) {
    if (!wanted.has(id)) {
      node.remove();
      known.delete(id);
    }
  }
}
