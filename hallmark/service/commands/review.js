"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = data.rows, said = new Map(), done = [];
  const unseen = new RegExp(data.unseen, "gu");
  const at = (id) => document.getElementById(id);
  let here = 0, editing = false, unsaved = false;

  // What can't be seen, or would reorder the rest, is spelled out.
  const visible = (text) => text.replace(unseen, (letter) => `[U+${letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
  const pretty = (text) => {
    if (!data.json) return text;
    try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
  };
  const show = (id, text) => { at(id).textContent = text === null ? "(none)" : visible(pretty(text)); };

  function draw() {
    const row = rows[here], word = said.get(row.trace);
    at("place").textContent = `${here + 1} of ${rows.length}`;
    at("verdict").textContent = word ? word.verdict : "";
    at("verdict").className = word ? word.verdict : "";
    const facts = [`asked ${row.count} time${row.count === 1 ? "" : "s"}`, `${Math.round(100 * row.likeness)} % similar to the nearest training record`];
    if (row.probability !== null) facts.unshift(`right with probability ${row.probability.toFixed(2)}`);
    else if (row.score !== null) facts.unshift(`score ${row.score.toFixed(3)}`);
    facts.push([row.day, row.route, row.version, row.outcome.replaceAll("_", " "), row.reason.replaceAll("_", " ")].filter(Boolean).join(", "));
    at("facts").textContent = visible(facts.join("; "));
    at("input").textContent = visible(row.input);
    const two = row.fallback !== null;
    at("fallen").hidden = !two;
    if (two) show("own", row.answer);
    show("answer", word && word.verdict === "corrected" ? word.target : row.shown);
    at("answer-title").textContent = word && word.verdict === "corrected" ? "Right answer"
      : row.shown === null ? "No answer" : two ? "Answer of the fallback, which the caller got"
      : row.outcome === "answered" ? "Answer that the caller got" : "Answer of the model, which was handed over";
    at("editor").hidden = !editing;
    at("answer").hidden = at("answer-title").hidden = editing;
    at("progress").textContent = `${said.size} of ${rows.length} judged`;
    at("unsaved").textContent = unsaved ? "not saved" : "";
  }

  function judge(verdict, target = null) {
    const trace = rows[here].trace;
    done.push([trace, said.get(trace), here]);
    said.set(trace, { trace, verdict, target });
    unsaved = true;
    if (here < rows.length - 1) here += 1;
    scrollTo(0, 0);
  }

  const problem = (text) => { at("problem").textContent = visible(text); };

  // Types, listed values and keys; what a schema says besides is checked when the file is read.
  function fault(value, schema, path) {
    if (schema === true || schema === null || typeof schema !== "object") return "";
    const type = value === null ? "null" : Array.isArray(value) ? "array" : Number.isInteger(value) ? "integer" : typeof value;
    const types = schema.type === undefined ? null : [].concat(schema.type);
    const where = path || "the answer";
    if (types && !types.includes(type) && !(type === "integer" && types.includes("number"))) return `${where} must be ${types.join(" or ")}`;
    if (schema.enum && !schema.enum.some((one) => JSON.stringify(one) === JSON.stringify(value))) return `${where} must be one of ${schema.enum.map((one) => JSON.stringify(one)).join(", ").slice(0, 300)}`;
    if (type === "array" && schema.items) {
      for (const [number, item] of value.entries()) { const found = fault(item, schema.items, `${path}[${number}]`); if (found) return found; }
    }
    if (type === "object") {
      for (const key of schema.required ?? []) if (!Object.hasOwn(value, key)) return `${where} lacks ${JSON.stringify(key)}`;
      for (const [key, item] of Object.entries(value)) {
        const known = schema.properties && Object.hasOwn(schema.properties, key);
        if (!known && schema.additionalProperties === false) return `${where} may not have ${JSON.stringify(key)}`;
        const found = known ? fault(item, schema.properties[key], path ? `${path}.${key}` : key) : "";
        if (found) return found;
      }
    }
    return "";
  }

  function checked(text) {
    if (!text) return "write an answer, or cancel";
    if (!data.json) return data.labels && !data.labels.includes(text) && text !== data.refusal ? `not one of ${data.labels.join(", ").slice(0, 300)}` : "";
    if (text === data.refusal) return "";
    let value;
    try { value = JSON.parse(text); } catch (error) { return `not JSON: ${error.message}`; }
    if (data.refusal !== null) {
      try { if (JSON.stringify(JSON.parse(data.refusal)) === JSON.stringify(value)) return ""; } catch { /* a refusal in words */ }
    }
    return fault(value, data.schema, "");
  }

  const actions = {
    accept() {
      if (rows[here].shown === null) { actions.correct(); problem("there is no answer to accept: write one"); return; }
      judge("accepted");
    },
    drop() { judge("dropped"); },
    correct() {
      const word = said.get(rows[here].trace);
      editing = true;
      problem("");
      const text = pretty((word && word.target) ?? rows[here].shown ?? rows[here].answer ?? "");
      at("target").value = text;
      at("target").rows = Math.min(30, Math.max(6, text.split("\n").length + 1));
      draw();
      at("target").focus();
    },
    keep() {
      let text = at("target").value.trim();
      const found = checked(text);
      if (found) { problem(found); return; }
      if (data.json) { try { text = JSON.stringify(JSON.parse(text)); } catch { /* a refusal in words */ } }
      actions.cancel();
      judge("corrected", text);
    },
    cancel() { editing = false; at("target").blur(); },
    next() { if (here < rows.length - 1) here += 1; },
    previous() { if (here > 0) here -= 1; },
    undo() {
      const last = done.pop();
      if (!last) return;
      const [trace, before, place] = last;
      if (before) said.set(trace, before); else said.delete(trace);
      here = place;
      unsaved = true;
    },
    save() {
      const lines = rows.filter((row) => said.has(row.trace)).map((row) => `${JSON.stringify(said.get(row.trace))}\n`);
      if (!lines.length) return;
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
      link.download = "reviewed.jsonl";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      unsaved = false;
    },
  };
  const keys = { a: "accept", c: "correct", d: "drop", j: "next", k: "previous", u: "undo", s: "save", ArrowDown: "next", ArrowUp: "previous" };

  function act(name) { actions[name](); draw(); }

  if (!rows.length) return;
  document.addEventListener("keydown", (event) => {
    if (editing) {
      const name = event.key === "Escape" ? "cancel" : event.key === "Enter" && (event.ctrlKey || event.metaKey) ? "keep" : null;
      if (name) { event.preventDefault(); act(name); }
      return;
    }
    const name = keys[event.key];
    if (!name || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act(name);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (!button) return;
    const name = button.dataset.do;
    if (editing && !["keep", "cancel", "save"].includes(name)) return;
    act(name);
  });
  addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
  draw();
})();
