// Colors, scale, ticks and contour of a map.

import { text } from "./format.js";

// Cividis: perceptually uniform, and the same for people with color vision deficiency.
const STOPS = [[0, 34, 78], [0, 46, 106], [26, 56, 111], [50, 67, 109], [67, 78, 108],
  [83, 90, 109], [97, 101, 111], [111, 112, 115], [125, 124, 120], [140, 136, 120],
  [155, 148, 118], [171, 160, 114], [188, 174, 108], [205, 187, 99], [222, 201, 88],
  [240, 216, 70], [254, 232, 56]];
// Purple, white, green (PRGn of ColorBrewer), also for people with color vision deficiency.
const DIVERGING = [[118, 42, 131], [153, 112, 171], [194, 165, 207], [231, 212, 232], [247, 247, 247],
  [217, 240, 211], [166, 219, 160], [90, 174, 97], [27, 120, 55]];
const CATEGORIES = [[0, 114, 178], [230, 159, 0], [0, 158, 115], [86, 180, 233], [204, 121, 167],
  [240, 228, 66], [213, 94, 0]].map(packed);
export const NO_BOUND = packed([213, 94, 0]); // vermilion
const [PLAIN, RATIO] = [STOPS, DIVERGING].map(table);

export const SERVED = 1, NEAR = 2; // bits of the flags

export const largeIsGood = (map) => map.largeIsGood ?? ["rate", "snr"].includes(map.quantity);
export const isCause = (map) => map.quantity === "cause";
export const causeColor = (index) => CATEGORIES[index % CATEGORIES.length];

// A color as the number that is a pixel of an image, and as text.
function packed([red, green, blue]) {
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}
export const css = (color) => `rgb(${color & 255}, ${(color >> 8) & 255}, ${(color >> 16) & 255})`;

// Colors at 257 steps from bad to good, so that there is one in the middle.
function table(stops) {
  return Uint32Array.from({ length: 257 }, (_, i) => {
    const at = (i / 256) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
    return packed(stops[low].map((from, part) => Math.round(from + (at - low) * (stops[low + 1][part] - from))));
  });
}

// The function that gives the color of a value: logarithmic, bright is good; green is better in a ratio.
export function colors(map, scale) {
  if (isCause(map)) return causeColor;
  const steps = map.ratio ? RATIO : PLAIN, rising = largeIsGood(map);
  const low = Math.log(scale.low), range = Math.log(scale.high) - low;
  return (value) => {
    if (Number.isNaN(value) || (!map.ratio && !Number.isFinite(value))) return NO_BOUND;
    const share = (Math.log(value) - low) / range;
    return steps[Math.round(256 * Math.min(Math.max(rising ? share : 1 - share, 0), 1))];
  };
}

const sorted = new WeakMap();

// The finite values of the served cells, sorted.
export function servedValues(map) {
  if (!sorted.has(map)) {
    const found = map.values.filter((value, i) => map.flags[i] & SERVED && Number.isFinite(value));
    sorted.set(map, found.sort());
  }
  return sorted.get(map);
}

// A logarithmic scale that fits one or two maps; the worst 2 % and the best 1 % of the values lie
// beyond it. That of a ratio has 1 in its middle.
export function fittingScale(map, other = null) {
  const both = other ? [...servedValues(map), ...servedValues(other)].sort((a, b) => a - b)
    : servedValues(map);
  const values = both.filter((value) => value > 0);
  if (map.ratio) {
    const sizes = values.map((value) => Math.max(value, 1 / value)).sort();
    const high = Math.max(sizes[Math.round(0.98 * (sizes.length - 1))] ?? 1, 1.1);
    return { low: 1 / high, high };
  }
  if (!values.length) return { low: 0.1, high: 1 };
  const at = (share) => values[Math.round(share * (values.length - 1))];
  let [low, high] = largeIsGood(map) ? [at(0.02), at(0.99)] : [at(0.01), at(0.98)];
  if (map.unit === "rad") high = Math.min(high, 1); // no information above
  if (high < 1.1 * low) [low, high] = [low / 1.05, Math.max(high, low) * 1.05];
  return { low, high };
}

// Images of one pixel per cell; the same canvas is used for each map.
const canvases = {};

function painted(name, { columns, rows }, colorOf) {
  const canvas = (canvases[name] ??= new OffscreenCanvas(1, 1));
  Object.assign(canvas, { width: columns, height: rows });
  const pixels = new ImageData(columns, rows), words = new Uint32Array(pixels.data.buffer);
  for (let row = 0, cell = 0; row < rows; row++) {
    const first = (rows - 1 - row) * columns; // the first row of pixels is the top
    for (let column = 0; column < columns; column++, cell++) words[first + column] = colorOf(cell);
  }
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(pixels, 0, 0);
  return canvas;
}

// The map as an image; unserved cells are transparent.
export function image(map, scale) {
  const { values, flags } = map, color = colors(map, scale);
  return painted("map", map, (cell) => (flags[cell] & SERVED ? color(values[cell]) : 0));
}

// An image that is opaque where the near field makes bounds doubtful; null if there is no such place.
export function nearField(map) {
  const { flags } = map, both = SERVED | NEAR;
  return flags.includes(both)
    ? painted("near", map, (cell) => (flags[cell] === both ? 0xff000000 : 0)) : null;
}

// Ticks 1, 2, 5, 10, ... in the shown unit, with text; steps of decibels for a ratio.
export function ticks(scale, unit) {
  const found = [];
  if (unit === "times") {
    const steps = [[1.1, 1.2], [1.2, 1.5], [1.5, 2], [2, 5, 10], [3, 10, 30], [10, 100, 1e3]]
      .find((each) => scale.high <= each.at(-1) * 1.3) ?? [1e3, 1e6];
    const levels = [...steps.map((step) => 1 / step).reverse(), 1, ...steps];
    return levels.filter((value) => value >= scale.low && value <= scale.high)
      .map((value) => [value, text(value, unit, 2)]);
  }
  if (unit === "1" || unit === "ratio in dB") {
    const [low, high] = [scale.low, scale.high].map((value) => 10 * Math.log10(value));
    const step = [1, 2, 5, 10, 20, 50].find((each) => (high - low) / each <= 7) ?? 100;
    for (let level = Math.ceil(low / step) * step; level <= high; level += step) {
      found.push([10 ** (level / 10), `${level} dB`]);
    }
    return found;
  }
  const factor = unit === "rad" ? Math.PI / 180 : 1;
  const decades = Math.log10(scale.high / scale.low);
  const steps = decades > 3 ? [1] : decades > 0.7 ? [1, 2, 5] : [1, 2, 3, 4, 5, 6, 7, 8, 9];
  const first = Math.floor(Math.log10(scale.low / factor));
  for (let power = first; power <= first + Math.ceil(decades) + 1; power++) {
    for (const step of steps) {
      const value = step * 10 ** power * factor;
      if (value >= scale.low && value <= scale.high) found.push([value, text(value, unit)]);
    }
  }
  return found;
}

export function cellOf(map, x, y) {
  const [x0, x1, y0, y1] = map.area;
  const column = Math.floor(((x - x0) / (x1 - x0)) * map.columns);
  const row = Math.floor(((y - y0) / (y1 - y0)) * map.rows);
  const inside = column >= 0 && column < map.columns && row >= 0 && row < map.rows;
  return inside ? row * map.columns + column : -1;
}

export function centreOf(map, cell) {
  const [x0, x1, y0, y1] = map.area;
  const column = cell % map.columns, row = Math.floor(cell / map.columns);
  return [x0 + ((x1 - x0) * (column + 0.5)) / map.columns,
    y0 + ((y1 - y0) * (row + 0.5)) / map.rows];
}

// Lines along which the map has a value: pairs of points, by marching squares in the logarithm.
export function contour(map, level) {
  const { columns, rows } = map, lines = [];
  const heights = Float64Array.from(map.values, (value, cell) => (map.flags[cell] & SERVED
    ? Math.log(Math.min(Math.max(value, 1e-30), 1e30) / level) : NaN));
  const crossing = ([a, b]) => {
    const from = heights[a], to = heights[b];
    if (!(from * to < 0)) return [];
    const share = from / (from - to), [p, q] = [centreOf(map, a), centreOf(map, b)];
    return [[p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1])]];
  };
  for (let row = 0; row + 1 < rows; row++) {
    for (let at = row * columns; at + 1 < (row + 1) * columns; at++) {
      const above = at + columns, high = heights[at] > 0;
      if (high === heights[at + 1] > 0 && high === heights[above] > 0 && high === heights[above + 1] > 0) continue;
      const points = [[at, at + 1], [at + 1, above + 1], [above + 1, above], [above, at]].flatMap(crossing);
      for (let i = 0; i + 1 < points.length; i += 2) lines.push([points[i], points[i + 1]]);
    }
  }
  return lines;
}
