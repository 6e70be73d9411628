// CSV text becomes what the model takes.

import { softmax } from "./runtime.js";

// Return rows of fields; quotes may hold commas and ends of lines.
export function parseCsv(text) {
  const rows = [[""]];
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const mark = text[i], row = rows.at(-1);
    if (mark === '"') {
      if (quoted && text[i + 1] === '"') row[row.length - 1] += text[++i];
      else quoted = !quoted;
    } else if (mark === "," && !quoted) row.push("");
    else if (mark === "\n" && !quoted) rows.push([""]);
    else if (mark !== "\r" || quoted) row[row.length - 1] += mark;
  }
  return rows.filter((row) => row.length > 1 || row[0].trim())
    .map((row) => row.map((field) => field.trim()));
}

const isNumber = (text) => text?.trim() !== "" && !/[xob]/i.test(text)
  && Math.abs(Number(text)) < 1e100;

function place(header, name) {
  const index = header.indexOf(name);
  if (index < 0) throw new Error(`There is no column "${name}".`);
  return index;
}

function numberOf(text, name, line) {
  if (!isNumber(text)) {
    throw new Error(`Line ${line}: "${text ?? ""}" in "${name}" is no number.`);
  }
  return Number(text);
}

// Say whether a field holds nothing, or what stands for it.
function isMissing(field, facts) {
  const number = field.replaceAll(",", ".");
  return facts.empty.includes(field.toLowerCase())
    || facts.missing_values.includes(field)
    || (isNumber(number) && facts.missing_values.some(
      (named) => isNumber(named) && Number(named) === Number(number)));
}

// Predict each row of a table.
export async function predictRows(runner, facts, text) {
  const [header, ...rows] = parseCsv(text);
  if (!rows.length) throw new Error("There is no row below the header.");
  const found = [];
  let milliseconds = 0;
  for (const [line, row] of rows.entries()) {
    const inputs = facts.columns.map((column) => {
      const field = row[place(header, column.name)] ?? "";
      const missing = isMissing(field, facts);
      if (column.categories) return missing ? 0 : column.categories[field] ?? 0;
      if (missing && facts.missing === "mean") return column.mean;
      return numberOf(missing ? "" : field, column.name, line + 2);
    });
    const made = await runner.predict(inputs);
    milliseconds += made.milliseconds;
    found.push(facts.labels.length ? softmax(made.values) : made.values[0]);
  }
  return { found, milliseconds: milliseconds / rows.length };
}

// Forecast what follows the last rows of a table.
export async function forecast(runner, facts, text) {
  const [header, ...all] = parseCsv(text);
  const [, lookback, atOnce] = facts.input.shape;
  const rows = all.slice(-lookback);
  if (rows.length < lookback) {
    throw new Error(`There are ${rows.length} rows; ${lookback} are needed.`);
  }
  const names = facts.columns.length ? facts.columns : header.filter(
    (_, i) => rows.every((row) => isNumber(row[i])));
  if (!names.length) throw new Error("There is no column of numbers.");
  const first = all.length - lookback + 2;
  const columns = names.map((name) => {
    const index = place(header, name);
    return rows.map((row, i) => numberOf(row[index], name, first + i));
  });
  const scales = columns.map(meanAndDeviation);
  const forecasts = names.map(() => []);
  let milliseconds = 0;
  for (let start = 0; start < names.length; start += atOnce) {
    // The last group has some of the first again.
    const group = Array.from(
      { length: atOnce }, (_, i) => (start + i) % names.length);
    const inputs = rows.flatMap((_, t) => group.map(
      (c) => (columns[c][t] - scales[c][0]) / scales[c][1]));
    const made = await runner.predict(inputs);
    milliseconds += made.milliseconds;
    group.slice(0, names.length - start).forEach((c, i) => {
      forecasts[c] = Array.from(made.values).filter((_, k) => k % atOnce === i)
        .map((x) => x * scales[c][1] + scales[c][0]);
    });
  }
  return { names, columns, forecasts, milliseconds };
}

function meanAndDeviation(values) {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((a, b) => a + (b - mean) ** 2, 0);
  return [mean, Math.sqrt(squares / values.length) || 1];
}

// Return an SVG picture of one column and what follows.
export function chart(past, future) {
  const shown = past.slice(-2 * future.length);
  const whole = [...shown, ...future];
  const low = Math.min(...whole), high = Math.max(...whole);
  const x = (i) => 45 + i / (whole.length - 1) * 450;
  const y = (v) => 10 + (high - v) / (high - low || 1) * 180;
  const line = (values, from) => values.map(
    (v, i) => `${i ? "L" : "M"}${x(from + i).toFixed(1)} ${y(v).toFixed(1)}`,
  ).join("");
  const begin = shown.length - 1;
  const mark = (v) => `<text x="40" y="${y(v) + 4}" text-anchor="end">${
    Number(v.toPrecision(3))}</text>`;
  return `<svg viewBox="0 0 500 200" role="img" aria-label="Forecast">
    ${mark(low)}${mark(high)}
    <path d="M${x(begin)} 10V190" stroke="var(--line)"/>
    <path d="${line(shown, 0)}" fill="none" stroke="var(--quiet)"/>
    <path d="${line([shown[begin], ...future], begin)}" fill="none"
      stroke="var(--accent)" stroke-width="2"/></svg>`;
}
