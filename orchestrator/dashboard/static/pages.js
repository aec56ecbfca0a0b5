// What pages do beyond HTML, all of it optional: follow a run, "/" to find a user, copy an answer.
"use strict";

const live = document.querySelector("[data-events]");
if (live) {
  // Events only say that something changed; the page asks for its part, at most once a second.
  let waiting = false;
  new EventSource(live.dataset.events).addEventListener("run", () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      document.body.dispatchEvent(new Event("changed"));
    }, 1000);
  });
}

document.addEventListener("keydown", (event) => {
  const find = document.getElementById("find");
  const writing = event.target.closest("input, textarea, select");
  if (event.key === "/" && find && !writing) {
    event.preventDefault();
    find.focus();
  }
});

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).innerText);
    button.textContent = "Copied";
  });
}
