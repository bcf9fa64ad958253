"use strict";
(() => {
  const root = document.documentElement, body = document.querySelector("#all tbody");
  root.classList.add("js");
  const keep = (value) => { try { localStorage.setItem("dl-theme", value); } catch { /* a file's page may keep nothing */ } };
  try { const kept = localStorage.getItem("dl-theme"); if (kept) root.dataset.theme = kept; } catch { /* as it is */ }
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    keep(root.dataset.theme = dark ? "light" : "dark");
  });
  const text = document.getElementById("find"), state = document.getElementById("state"), count = document.getElementById("count");
  const rows = [...body.rows];
  const find = () => {
    const wanted = text.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = row.cells[0].textContent.toLowerCase().includes(wanted) && (!state.value || row.dataset.s === state.value);
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
  };
  text.addEventListener("input", find);
  state.addEventListener("change", find);
  find();
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|SELECT/.test(document.activeElement.tagName)) { event.preventDefault(); text.focus(); }
  });
  document.querySelectorAll("#all thead th").forEach((head, place) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    document.querySelectorAll("#all th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => { const cell = row.cells[place]; return cell.dataset.v ? Number(cell.dataset.v) : cell.textContent; };
    const numbers = head.classList.contains("n");
    const order = (a, b) => numbers ? value(a) - value(b) : String(value(a)).localeCompare(String(value(b)));
    rows.sort((a, b) => up ? order(a, b) : order(b, a));
    body.append(...rows);
  }));
  document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", async () => {
    const code = button.previousElementSibling;
    try { await navigator.clipboard.writeText(code.textContent); button.textContent = "copied"; }
    catch { getSelection().selectAllChildren(code); }
  }));
})();
