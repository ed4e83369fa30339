"use strict";

// Recordings that were shown before: the first player and picture again.
for (const link of document.querySelectorAll(".again")) {
  const first = document.querySelector(link.getAttribute("href"));
  const copies = [...first.querySelectorAll("audio, details")].map((part) =>
    part.cloneNode(true)
  );
  link.replaceWith(...copies);
}

// One recording at a time.
document.addEventListener(
  "play",
  (event) => {
    for (const player of document.querySelectorAll("audio")) {
      if (player !== event.target) player.pause();
    }
  },
  true
);

// Tables that sort by the column whose button is pressed, and back.
function sortRows(header, place) {
  const table = header.closest("table");
  const body = table.tBodies[0];
  const isDescending = header.getAttribute("aria-sort") === "ascending";
  const isNumber = header.dataset.kind === "number";
  const value = (row) => row.cells[place].dataset.sort;
  const rows = [...body.rows].sort((one, other) => {
    const order = isNumber
      ? value(one) - value(other)
      : value(one).localeCompare(value(other));
    return isDescending ? -order : order;
  });
  body.append(...rows);
  for (const other of table.tHead.rows[0].cells) {
    other.removeAttribute("aria-sort");
  }
  header.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, place) => {
    if (!header.dataset.kind) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortRows(header, place));
    header.append(button);
  });
}
