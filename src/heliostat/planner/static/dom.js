// Short ways to make elements.

export const $ = (selector) => document.querySelector(selector);

// An element with properties and children; `on...` are listeners, `aria-...` and `data-...`
// attributes.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "for" || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

// An element of an SVG with attributes and content.
export function drawn(tag, attributes, content) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.innerHTML = content;
  return made;
}

// Texts of a chart: x and y in its view box, text, and what is at x: the "middle" or the "end". They are
// not in the svg, so that they keep their size, and that tools can judge their contrast.
export function labels(svg, texts) {
  const { width, height } = svg.viewBox.baseVal;
  for (const old of svg.parentElement.querySelectorAll(":scope > span")) old.remove();
  svg.parentElement.append(...texts.map(([x, y, text, at]) => {
    const label = element("span", { className: at }, text);
    label.style.left = `${(100 * x) / width}%`;
    label.style.top = `${(100 * y) / height}%`;
    return label;
  }));
}

export function button(text, onclick, properties = {}) {
  return element("button", { type: "button", textContent: text, onclick, ...properties });
}
