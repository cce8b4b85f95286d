// The map that is shown: the present one (B), the kept one (A), or their ratio.

import { centreOf, cellOf, largeIsGood, SERVED, isCause } from "./heatmap.js";
import { plan, shown } from "./state.js";

let last = { of: [], map: null };

export function displayed() {
  const { map, other } = shown;
  if (!map || !other || other.quantity !== map.quantity || plan.showing === "present") return map;
  if (plan.showing === "other") return other;
  if (isCause(map)) return map;
  if (last.of[0] !== map || last.of[1] !== other) last = { of: [map, other], map: ratio(map, other) };
  return last.map;
}

// B relative to A at the cells of B: 0 or infinite where only one is, NaN where there is neither.
export function ratio(map, other) {
  const values = new Float32Array(map.values.length), flags = new Uint8Array(map.flags.length);
  map.values.forEach((value, i) => {
    const cell = cellOf(other, ...centreOf(map, i));
    if (cell < 0 || !(map.flags[i] & other.flags[cell] & SERVED)) return;
    values[i] = value / other.values[cell];
    flags[i] = SERVED;
  });
  const unit = ["1", "rad²"].includes(map.unit) ? "ratio in dB" : "times";
  return { ...map, values, flags, unit, ratio: true, largeIsGood: largeIsGood(map),
    label: `${map.label}: B relative to A`, unserved: "no value in A or in B" };
}

// The value of A at the cell of the ratio.
export const otherAt = (place) => shown.other.values[cellOf(shown.other, ...place)];
