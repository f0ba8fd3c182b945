const words = new Intl.Collator("en", { numeric: true });
const compare = (a, b) => isNaN(a) || isNaN(b) ? words.compare(a, b) : a - b;

for (const header of document.querySelectorAll("th")) {
  header.firstElementChild.addEventListener("click", () => {
    const body = header.closest("table").tBodies[0], before = header.getAttribute("aria-sort");
    const direction = before ? (before === "ascending" ? "descending" : "ascending") : header.dataset.first;
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction);
    const key = row => row.cells[header.cellIndex].dataset.key;
    const known = [...body.rows].filter(row => key(row) !== undefined);
    const missing = [...body.rows].filter(row => key(row) === undefined);
    const sign = direction === "ascending" ? 1 : -1;
    body.append(...known.sort((a, b) => sign * compare(key(a), key(b))), ...missing);
  });
}
