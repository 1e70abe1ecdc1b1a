"use strict";
// Sorting, filtering and the details of a row.  Without it the page is a plain table.
(() => {
  const table = document.getElementById("rows");
  if (!table) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const search = document.getElementById("search");
  const selects = Array.from(document.querySelectorAll("select[data-column]"));
  const count = document.getElementById("count");
  const cell = (column, row) => (data.columns[column] ? data.columns[column][row] : null);

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

  function sort(header) {
    const ascending = header.getAttribute("aria-sort") !== "ascending";
    const column = header.dataset.column;
    const sign = ascending ? 1 : -1;
    const compare = (a, b) => {
      const x = cell(column, Number(a.dataset.row));
      const y = cell(column, Number(b.dataset.row));
      const no = (value) => value === null || value === undefined || value === "";
      if (no(x) || no(y)) return no(x) - no(y);  // what is unknown stands last, either way
      if (typeof x === "number" && typeof y === "number") return sign * (x - y);
      return sign * String(x).localeCompare(String(y), "en", {numeric: true});
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
    for (const [name, values] of Object.entries(data.columns)) {
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
