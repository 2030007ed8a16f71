"use strict";
document.documentElement.classList.add("scripted");
const table = document.getElementById("cases");
if (table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const search = document.getElementById("search");
  const showing = document.getElementById("showing");
  const clear = document.getElementById("clear");
  const wanted = { state: "", remark: "" };

  // Filter -------------------------------------------------------------------------------------------------------
  const matches = (row, terms) =>
    (!wanted.state || row.dataset.state === wanted.state) &&
    (!wanted.remark || row.dataset.remarks.split(" ").includes(wanted.remark)) &&
    terms.every((term) => words.get(row).includes(term));

  function filter() {
    const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !matches(row, terms);
      shown += !row.hidden;
    }
    const all = rows.length.toLocaleString("en");
    const some = shown < rows.length;
    showing.textContent = some ? `${shown.toLocaleString("en")} of ${all}` : `${all} ${rows.length === 1 ? "case" : "cases"}`;
    clear.hidden = !(some || terms.length || wanted.state || wanted.remark);
    document.getElementById("nothing").hidden = shown > 0;
    for (const kind of ["state", "remark"]) {
      for (const button of document.querySelectorAll(`button[data-${kind}]`)) {
        button.setAttribute("aria-pressed", String(button.dataset[kind] === wanted[kind]));
      }
    }
  }

  for (const kind of ["state", "remark"]) {
    for (const button of document.querySelectorAll(`button[data-${kind}]`)) {
      button.addEventListener("click", () => {
        wanted[kind] = wanted[kind] === button.dataset[kind] ? "" : button.dataset[kind];
        filter();
      });
    }
  }
  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 60);
  });
  clear.addEventListener("click", () => {
    search.value = wanted.state = wanted.remark = "";
    filter();
    search.focus();
  });

  // Sort: upwards, downwards, as it was; what is empty comes last ------------------------------------------------------
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const heads = [...table.querySelectorAll("thead th")];

  function key(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent.trim() || null;
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  }
  function compare(one, other) {
    return typeof one === "number" ? one - other : collator.compare(one, other);
  }
  function sort(head) {
    const order = NEXT[head.getAttribute("aria-sort")];
    for (const each of heads) each.setAttribute("aria-sort", each === head ? order : "none");
    let sorted = rows;
    if (order !== "none") {
      const keys = new Map(rows.map((row) => [row, key(row, head.cellIndex)]));
      const known = rows.filter((row) => keys.get(row) !== null);
      const sign = order === "ascending" ? 1 : -1;
      known.sort((one, other) => sign * compare(keys.get(one), keys.get(other)));
      sorted = [...known, ...rows.filter((row) => keys.get(row) === null)];
    }
    body.append(...sorted);
  }
  for (const head of heads) head.querySelector("button").addEventListener("click", () => sort(head));

  // Enlarge -----------------------------------------------------------------------------------------------------------
  const viewer = document.getElementById("viewer");
  const picture = viewer.querySelector("img");
  const full = viewer.querySelector("a");
  let viewed = null;

  function view(button) {
    const row = button.closest("tr");
    viewed = button;
    picture.src = button.firstElementChild.src;
    full.href = button.dataset.full;
    document.getElementById("viewed").textContent = row.querySelector(".case").textContent;
    viewer.querySelector("span").textContent = row.querySelector(".said").textContent;
    if (!viewer.open) viewer.showModal();
  }
  function move(by) {
    const buttons = [...body.querySelectorAll("tr:not([hidden]) .picture button")];
    const next = buttons[buttons.indexOf(viewed) + by];
    if (next) view(next);
  }
  body.addEventListener("click", (event) => {
    const button = event.target.closest(".picture button");
    if (button) view(button);
  });
  viewer.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (event.target === viewer || (button && button.value === "0")) viewer.close();
    else if (button) move(Number(button.value));
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  });
  viewer.addEventListener("close", () => viewed.focus());
}
