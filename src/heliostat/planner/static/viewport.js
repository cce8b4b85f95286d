// The visible part of the plan view, and conversion between meters and pixels.

export const box = document.querySelector("#plan");
export const canvas = document.querySelector("#canvas");
export const view = { x: 0, y: 0, scale: 10 }; // center [m], pixels per meter

export const toPixels = ([x, y]) => [
  (x - view.x) * view.scale + box.clientWidth / 2,
  (view.y - y) * view.scale + box.clientHeight / 2,
];
export const toMeters = (event) => {
  const { left, top } = box.getBoundingClientRect();
  return [
    (event.clientX - left - box.clientWidth / 2) / view.scale + view.x,
    view.y - (event.clientY - top - box.clientHeight / 2) / view.scale,
  ];
};
