"use strict";
// Copying code.  A page that was opened as a file may lack the clipboard: the older way is tried too.
(() => {
  const status = document.getElementById("copied");
  function selected(code) {
    const range = document.createRange();
    range.selectNodeContents(code);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  }
  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    let done = false;
    try {
      await navigator.clipboard.writeText(code.textContent);
      done = true;
    } catch {
      done = selected(code);
    }
    const told = done ? "copied" : "press Ctrl+C";
    button.textContent = told;
    status.textContent = told;
    setTimeout(() => { button.textContent = "copy"; status.textContent = ""; }, 2000);
  }
  document.querySelectorAll("button.copy").forEach((one) => {
    one.hidden = false;
    one.addEventListener("click", () => copy(one));
  });
  // What is folded is printed too.
  addEventListener("beforeprint", () =>
    document.querySelectorAll("section details").forEach((one) => { one.open = true; }));
})();

// Sorting, filtering and the details of a row.  Without it the page is a plain table.
(() => {
  const table = document.getElementById("rows");
  if (!table) return;
  const data = JSON.parse(document.getElementById("data").textContent);

  // See `pack` in bench/html/table_data.py.
  function unpacked({all, numbers, texts, at}) {
    if (all !== undefined) return Array(data.rows).fill(all);
    return (texts ? at : numbers).split(",").map((one) =>
      one === "" ? null : texts ? texts[Number(one)] : Number(one));
  }
  const open = (columns) =>
    Object.fromEntries(Object.entries(columns).map(([name, one]) => [name, unpacked(one)]));
  const columns = open(data.columns);
  const sortable = {...columns, ...open(data.derived)};
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const search = document.getElementById("search");
  const selects = Array.from(document.querySelectorAll("select[data-column]"));
  const count = document.getElementById("count");
  const cell = (column, row) => (columns[column] ? columns[column][row] : null);

  // What a row is searched by, made once.
  const words = rows.map((row) => row.textContent.toLowerCase() + " " +
    ["case_id", "reason"].map((name) => String(cell(name, Number(row.dataset.row)) || "").toLowerCase()).join(" "));

  function filter() {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, place) => {
      const number = Number(row.dataset.row);
      const fits = wanted.every((word) => words[place].includes(word)) &&
        selects.every((one) => !one.value || String(cell(one.dataset.column, number) ?? "") === one.value);
      row.hidden = !fits;
      if (fits) shown += 1;
    });
    count.textContent = shown + " of " + rows.length + " rows";
  }

  // By what the cells show; numbers by their values, as their units differ.
  const order = new Intl.Collator("en", {numeric: true});
  function sort(header) {
    const ascending = header.getAttribute("aria-sort") !== "ascending";
    const sign = ascending ? 1 : -1;
    const numbers = header.classList.contains("n") ? sortable[header.dataset.column] || [] : null;
    const key = new Map(rows.map((row) => [row,
      numbers ? numbers[Number(row.dataset.row)] ?? null : row.cells[header.cellIndex].textContent.trim()]));
    const compare = (a, b) => {
      const x = key.get(a);
      const y = key.get(b);
      const no = (value) => value === null || value === "";
      if (no(x) || no(y)) return no(x) - no(y);  // what is unknown stands last, either way
      return sign * (numbers ? x - y : order.compare(x, y));
    };
    table.querySelectorAll("th[aria-sort]").forEach((one) => one.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    body.append(...[...rows].sort(compare));
  }

  const dialog = document.getElementById("details");
  function show(row) {
    const number = Number(row.dataset.row);
    const list = dialog.querySelector("dl");
    list.replaceChildren();
    for (const [name, values] of Object.entries(columns)) {
      const value = values[number];
      if (value === null || value === "") continue;
      const term = document.createElement("dt");
      const told = document.createElement("dd");
      term.textContent = name;
      term.title = data.meaning[name] || "";
      told.textContent = String(value);
      list.append(term, told);
    }
    dialog.showModal();
  }

  table.querySelectorAll("th[data-column] button").forEach((one) =>
    one.addEventListener("click", () => sort(one.parentElement)));
  rows.forEach((row) => {
    row.tabIndex = 0;
    row.addEventListener("click", () => { if (!String(getSelection())) show(row); });
    row.addEventListener("keydown", (event) => { if (event.key === "Enter") show(row); });
  });
  search.addEventListener("input", filter);
  selects.forEach((one) => one.addEventListener("change", filter));
  document.querySelector(".controls").hidden = false;
  filter();
})();
