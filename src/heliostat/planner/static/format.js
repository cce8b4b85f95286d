// Numbers with units as text, and back.

const UNITS = {
  m: [["km", 1e3], ["m", 1], ["mm", 1e-3], ["µm", 1e-6]],
  "bit/s": [["Gbit/s", 1e9], ["Mbit/s", 1e6], ["kbit/s", 1e3], ["bit/s", 1]],
  rad: [["deg", Math.PI / 180]],
  "rad²": [["rad²", 1]],
};

// A value of a map as text, e.g. "3.2 cm". A ratio is shown in dB.
export function text(value, unit, digits = 3) {
  if (unit === "1") return value > 0 ? `${(10 * Math.log10(value)).toFixed(1)} dB` : "no power";
  if (unit === "times") return value === 1 ? "equal" : `× ${Number(value.toPrecision(digits))}`;
  if (unit === "ratio in dB") {
    const level = 10 * Math.log10(value);
    return `${level > 0 ? "+" : ""}${level.toFixed(1)} dB`;
  }
  if (!Number.isFinite(value)) return "no bound";
  const units = UNITS[unit];
  const [name, factor] = units.find(([, factor]) => value >= 0.9995 * factor) ?? units.at(-1);
  const number = value / factor;
  const plain = number >= 1e4 || (number < 1e-3 && number > 0)
    ? number.toExponential(digits - 1) : String(Number(number.toPrecision(digits)));
  return `${plain} ${name}`;
}

// The value of text such as "10 cm" in SI units; null if it is none.
export function parse(given, unit) {
  const match = /^\s*([-+]?[\d.]+(?:e[-+]?\d+)?)\s*(\S*)\s*$/i.exec(given);
  if (!match || Number.isNaN(Number(match[1]))) return null;
  const number = Number(match[1]);
  if (unit === "1") return ["", "dB"].includes(match[2]) ? 10 ** (number / 10) : null;
  const name = match[2].replace("um", "µm").replace("rad2", "rad²");
  if (unit === "rad" && name === "rad") return number;
  if (name === "") return number * (unit === "m" || unit === "rad²" ? 1 : UNITS[unit][0][1]);
  if (unit === "m" && name === "cm") return number / 100;
  const found = UNITS[unit].find(([own]) => own === name);
  return found ? number * found[1] : null;
}

export const meters = (value) => `${Number(value.toFixed(2))} m`;
