"use strict";
// Light and dark, times of here on hover, and copying. Nothing is kept but the theme's name.
(() => {
  const root = document.documentElement;
  const kept = localStorage.getItem("theme");
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (target?.closest("[data-theme-switch]")) {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
    }
    const copy = target?.closest("[data-copy]");
    if (copy) navigator.clipboard?.writeText(copy.dataset.copy.trim()).then(() => {
      copy.dataset.copied = "";
      setTimeout(() => delete copy.dataset.copied, 1200);
    });
  });
  for (const time of document.querySelectorAll("time[data-local]")) {
    time.title = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
  }
  // What takes a while says so; a page that comes back from the browser's own memory does not.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-busy], #again")) return;
    root.dataset.busy = "";
    document.getElementById("busy").textContent = "Looking through the window…";
  });
  // Escape closes what was opened last around the focus, and leads back to what opened it.
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && document.activeElement?.closest("details[open]");
    if (open) { open.open = false; open.querySelector("summary").focus(); }
  });
  addEventListener("pageshow", () => { delete root.dataset.busy; });
  // An answer is where one goes on reading, not the form above it.
  if (document.getElementById("found") && !location.hash) document.getElementById("found").focus();
  // What is copied of a number has no spaces in it.
  document.addEventListener("copy", (event) => {
    const node = getSelection()?.anchorNode?.parentElement;
    if (node?.closest(".value") && event.clipboardData) {
      event.clipboardData.setData("text/plain", String(getSelection()).replace(/\s+/g, ""));
      event.preventDefault();
    }
  });
})();
