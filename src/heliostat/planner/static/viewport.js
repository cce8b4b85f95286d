// The visible part of the plan view, and conversion between meters and pixels.

export const box = document.querySelector("#plan");
export const canvas = document.querySelector("#canvas");
export const view = { x: 0, y: 0, scale: 10 }; // center [m], pixels per meter
export const size = { width: 0, height: 0 }; // pixels; asking the box for each point would be slow

export function measure() {
  Object.assign(size, { width: box.clientWidth, height: box.clientHeight });
}

export const toPixels = ([x, y]) => [
  (x - view.x) * view.scale + size.width / 2,
  (view.y - y) * view.scale + size.height / 2,
];
export const toMeters = (event) => {
  const { left, top } = box.getBoundingClientRect();
  return [
    (event.clientX - left - size.width / 2) / view.scale + view.x,
    view.y - (event.clientY - top - size.height / 2) / view.scale,
  ];
};
