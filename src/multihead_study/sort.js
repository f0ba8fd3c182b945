for (const header of document.querySelectorAll("th button")) {
  header.addEventListener("click", () => {
    const cell = header.closest("th"), body = cell.closest("table").tBodies[0];
    const direction = cell.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    for (const other of cell.parentNode.cells) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", direction);
    const text = row => row.cells[cell.cellIndex].textContent.replaceAll(",", "");
    const rows = [...body.rows].sort((a, b) => text(a).localeCompare(text(b), "en", { numeric: true }));
    body.append(...(direction === "ascending" ? rows : rows.reverse()));
  });
}
