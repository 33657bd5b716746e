// The browser of the records. Text of a record only ever becomes a text node, never HTML.
"use strict";
const { records, total, outcomes, titles, models, labels, unseen } = JSON.parse(document.getElementById("island").textContent);
const [form, count, list, more] = ["filters", "count", "list", "more"].map((id) => document.getElementById(id));
const CHUNK = 50; // rows put on the page at a time
const CODE = (code) => `U+${code.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
// Where a text, and where a name, is taken apart to be shown: at what can't be seen (from hallmark/page/text.py), after a comma.
const [TEXT, NAME] = unseen.map((pattern) => new RegExp(`(${pattern})|(?<=,)(?=\\S)`, "u"));
const UNSEEN_IN_NAME = new RegExp(unseen[1], "gu");
// What is compared as one: a short quoted string (a value of JSON), a number, a word, white space, any other character.
const WORD = /"(?:[^"\\\n]|\\.){0,80}"|\d+(?:\.\d+)?|[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu;
const RESULT = { match: "", wrong: "≠ ", missing: "∅ ", spurious: "+ " };
let shown = [];
let drawn = 0;

function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const child of children) node.append(typeof child === "string" ? textOf(child) : child);
  return node;
}

// The text as nodes: what can't be seen, or would reorder the rest, is spelled out; a line may break after a comma.
function textOf(text, pieces = TEXT) {
  const parts = document.createDocumentFragment();
  for (const [number, part] of text.split(pieces).entries()) {
    if (!part) continue;
    if (number % 2) {
      parts.append(make("span", "ctl", CODE(part)));
    } else {
      parts.append(part);
      if (part.endsWith(",")) parts.append(document.createElement("wbr"));
    }
  }
  return parts;
}

// A name, or another piece of data in a line, by itself: it can't reorder what is around it.
const isolated = (text, className = "", pieces = NAME) => make("bdi", className, textOf(text, pieces));
const plain = (name) => name.replaceAll("_", " ");
const start = (text) => (typeof text === "string" ? text : text[0]);
const size = (text) => (typeof text === "string" ? text.length : text[1]);

// --- filter, search, order -----------------------------------------------------------------------------------------

const NOT_ASKED = "not asked";
const outcome = (model) => model?.outcome ?? NOT_ASKED; // a model may be asked some of the records only
const CHANGE = {
  lost: ([base, tuned]) => base?.outcome === "pass" && tuned.outcome !== "pass",
  won: ([base, tuned]) => base && base.outcome !== "pass" && tuned.outcome === "pass",
  failing: ([, tuned]) => tuned.outcome !== "pass",
  both: ([base, tuned]) => base?.outcome === "pass" && tuned.outcome === "pass",
  linear: (given) => given[1].outcome !== "pass" && given.at(-1).wrong.length === 0,
};
const ORDER = {
  file: (a, b) => a.number - b.number,
  longest: (a, b) => size(b.input) - size(a.input) || a.number - b.number,
};

function haystack(record) {
  record.text ??= [record.id, record.group, ...record.tags, record.context ?? "", record.input, record.target]
    .concat(record.models.map((model) => model?.text ?? ""))
    .map(start)
    .join("\n")
    .toLowerCase();
  return record.text;
}

function settings() {
  return Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
}

function apply() {
  const { q, change, group, tag, evidence, cell, sort, ...chosen } = settings();
  const wanted = models.flatMap((name, index) => (chosen[name] ? [[index, chosen[name]]] : []));
  const words = (q ?? "").toLowerCase();
  const [label, ...place] = (cell ?? "").split(".").map(Number);
  shown = records.filter(
    (record) =>
      (!change || CHANGE[change](record.models)) &&
      wanted.every(([index, value]) => outcome(record.models[index]) === value) &&
      (group === undefined || record.group === group) &&
      (tag === undefined || record.tags.includes(tag)) &&
      (!evidence || record.evidence === evidence) &&
      (!cell || record.cells[label]?.every((at, axis) => at === place[axis])) &&
      (!words || haystack(record).includes(words)),
  );
  if (sort) shown.sort(ORDER[sort]);
  count.textContent = `${shown.length} of ${records.length} records`;
  if (total > records.length) count.textContent += `, the worst of ${total.toLocaleString("en")}; all are in predictions.jsonl`;
  form.elements.cell.parentNode.hidden = !cell;
  list.replaceChildren();
  drawn = 0;
  draw();
}

function draw() {
  list.append(...shown.slice(drawn, drawn + CHUNK).map(row));
  drawn = Math.min(drawn + CHUNK, shown.length);
  more.hidden = drawn === shown.length;
}

// --- one record ----------------------------------------------------------------------------------------------------

function chip(model, name) {
  if (!model) return make("span", "chip base", NOT_ASKED);
  const passes = model.outcome === "pass";
  return make("span", `chip ${name} ${passes ? "pass" : ""}`, `${passes ? "✓" : "✗"} ${plain(model.outcome)}`);
}

function row(record) {
  const [base, tuned] = record.models;
  const why = make("span", "why", make("span", "snippet", start(record.input).slice(0, 200).replace(/\s+/g, " ")));
  if (tuned.reason) why.prepend(make("span", "reason", tuned.reason));
  const summary = make(
    "summary",
    "",
    make("span", "", isolated(record.id, "id"), document.createElement("br"), isolated(record.group, "who")),
    make("span", "moves", chip(base, "base"), " → ", chip(tuned, "")),
    why,
  );
  const details = make("details", "record", summary);
  details.addEventListener("toggle", () => details.children.length > 1 || details.append(body(record)));
  return make("li", "", details);
}

function body(record) {
  const left = make("div", "", pane(`Input of record ${record.number}`, record.input, [textOf(start(record.input))]));
  if (record.context) left.append(pane("Context", record.context, [textOf(start(record.context))]));
  if (record.tags.length) {
    const tags = record.tags.flatMap((tag, number) => [number ? ", " : "", isolated(tag)]);
    left.append(make("p", "note", "Tags: ", ...tags));
  }
  const right = make("div", "");
  if (record.fields.length) right.append(fields(record.fields, record.models));
  right.append(pane("Target", record.target, [textOf(start(record.target))]));
  for (const [number, model] of record.models.entries()) {
    if (!model) {
      right.append(make("div", "", make("h4", "", titles[number], chip(model, ""))));
      continue;
    }
    if (model.wrong) {
      right.append(labeller(titles[number], model));
      continue;
    }
    const parts = diff(start(record.target), start(model.text));
    const block = pane(titles[number], model.text, parts ?? [textOf(start(model.text))]);
    const verdict = chip(model, "");
    if (model.reason) verdict.append(": ", isolated(model.reason, "", TEXT));
    block.firstChild.append(verdict);
    if (model.examples.length) {
      const ids = model.examples.flatMap((id, at) => [at ? ", " : "", isolated(id)]);
      block.append(make("p", "note", "Examples from training that it was shown: ", ...ids));
    }
    if (model.cut_off) block.append(make("p", "note", "Cut off at the longest answer allowed."));
    if (!parts) block.append(make("p", "note", "Too different from the target to mark anything."));
    right.append(block);
  }
  right.append(make("p", "note", make("mark", "", "not in the target"), " ", make("del", "", "missing from the output")));
  return make("div", "body", left, right);
}

// A model that gives labels only: nothing else of its answer is compared.
function labeller(title, model) {
  const block = pane(title, model.text, [textOf(start(model.text))]);
  const names = model.wrong.flatMap((name, number) => [number ? ", " : "", isolated(name)]);
  const words = names.length ? ["✗ wrong: ", ...names] : ["✓ labels right"];
  block.firstChild.append(make("span", names.length ? "chip" : "chip pass", ...words));
  return block;
}

function pane(title, text, parts) {
  const content = make("pre", "", ...parts);
  content.tabIndex = 0;
  content.dir = "auto";
  content.setAttribute("aria-label", title);
  const block = make("div", "", make("h4", "", title), content);
  if (typeof text !== "string") {
    const [kept, all] = [text[0].length, text[1]].map((n) => n.toLocaleString("en"));
    block.append(make("p", "note", `The first ${kept} of ${all} characters; all are in predictions.jsonl.`));
  }
  return block;
}

function fields(rows, given) {
  const heads = ["Field", "Target", ...titles].map((name) => {
    const head = make("th", "", name);
    head.scope = "col";
    return head;
  });
  const lines = rows.map(([path, target, ...cells]) => {
    const head = make("th", "", isolated(path));
    head.scope = "row";
    const line = make("tr", "", head, make("td", "", isolated(target, "", TEXT)));
    for (const [number, cell] of cells.entries()) {
      const [value, result] = cell ?? ["–", given[number] ? "none given" : NOT_ASKED];
      line.append(make("td", cell ? result : "none", RESULT[result] ?? "", isolated(value, "", TEXT), make("span", "sr", ` (${result})`)));
    }
    return line;
  });
  return make("table", "fields", make("thead", "", make("tr", "", ...heads)), make("tbody", "", ...lines));
}

// --- differences ---------------------------------------------------------------------------------------------------

// The output as nodes: what the target lacks is marked, what the output lacks is struck out. Null where they share
// less than a third. The longest common subsequence, between what begins and ends the same.
function diff(target, output) {
  const [a, b] = [target, output].map((text) => text.match(WORD) ?? []);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
  const parts = [["", b.slice(0, head).join("")]];
  parts.push(...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)));
  parts.push(["", b.slice(b.length - tail).join("")]);
  const same = parts.reduce((sum, [kind, text]) => sum + (kind ? 0 : text.length), 0);
  if (same < (target.length + output.length) / 6) return null;
  return parts.filter(([, text]) => text).map(([kind, text]) => (kind ? make(kind, "", text) : textOf(text)));
}

function middle(a, b) {
  if (a.length * b.length > 1e6) return [["del", a.join("")], ["mark", b.join("")]];
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width); // longest common subsequence of a[i:] and b[j:]
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const at = i * width + j;
      common[at] = a[i] === b[j] ? common[at + width + 1] + 1 : Math.max(common[at + width], common[at + 1]);
    }
  }
  const parts = [];
  const add = (kind, text) => (parts.at(-1)?.[0] === kind ? (parts.at(-1)[1] += text) : parts.push([kind, text]));
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    if (i < a.length && j < b.length && a[i] === b[j]) add("", (i++, b[j++]));
    else if (j === b.length || (i < a.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) add("del", a[i++]);
    else add("mark", b[j++]);
  }
  return parts;
}

// --- wiring --------------------------------------------------------------------------------------------------------

function fill(name, values, label) {
  for (const value of values) {
    const option = new Option(label(value), value);
    option.dir = "auto";
    form.elements[name].append(option);
  }
}
// An option holds nothing but text.
const named = (name) => name.replace(UNSEEN_IN_NAME, (code) => `[${CODE(code)}]`);
const unique = (values) => [...new Set(values)].sort((a, b) => a.localeCompare(b, "en"));
for (const [index, name] of models.entries()) {
  const there = new Set(records.map((record) => outcome(record.models[index])));
  fill(name, [...outcomes, NOT_ASKED].filter((value) => there.has(value)), plain);
}
fill("group", unique(records.map((record) => record.group)), named);
fill("tag", unique(records.flatMap((record) => record.tags)), named);

// The records of one cell of a table of labels: the choice is there once it was made.
function offer(cell) {
  const select = form.elements.cell;
  const [label, row, column] = cell.split(".");
  const [name, rows, columns] = labels[label] ?? [];
  if (!rows?.[row] || !columns?.[column] || [...select.options].some((option) => option.value === cell)) return;
  const option = new Option(`${named(name)}: ${named(rows[row])} given as ${named(columns[column])}`, cell);
  option.dir = "auto";
  select.append(option);
}

function set(values) {
  for (const [name, value] of values) {
    if (name === "cell") offer(value);
    if (form.elements[name]) form.elements[name].value = value;
  }
}

function remember() {
  const query = new URLSearchParams(settings()).toString();
  history.replaceState(null, "", query ? `#records?${query}` : "#records");
}

function recall() {
  const [section, query] = location.hash.split("?");
  if (section !== "#records" || !query) return;
  set(new URLSearchParams(query));
  document.getElementById("records").scrollIntoView();
}

let timer;
form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(() => (apply(), remember()), 120);
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(() => (apply(), remember())));
more.addEventListener("click", () => {
  const first = drawn;
  draw();
  list.children[first].querySelector("summary").focus();
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-set]");
  if (!button) return;
  form.reset();
  set(Object.entries(JSON.parse(button.dataset.set)));
  apply();
  remember();
  document.getElementById("records").scrollIntoView();
  count.focus({ preventScroll: true });
});
new IntersectionObserver(([entry]) => entry.isIntersecting && !more.hidden && draw(), { rootMargin: "600px" }).observe(more);
recall();
apply();
