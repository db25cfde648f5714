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
  // One node of a graph is in the order of Tab. Arrows go to the nearest node that way, and what it is linked with stands
  // out. A node that is nearest to none is put between one that is reached and what lies behind it: arrows lead to all.
  for (const figure of document.querySelectorAll("figure.graph")) {
    const nodes = [...figure.querySelectorAll("[data-at]")].sort((a, b) => number(a) - number(b));
    const links = [...figure.querySelectorAll("[data-ends]")];
    const drawing = figure.querySelector("svg");  // listens to nothing itself: an svg that does is a stop of its own
    const turns = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    function number(node) { return Number(node.id.slice(5)); }
    function place(node) { return node.dataset.at.split(" ").map(Number); }
    function beside(node, [dx, dy]) {
      const [x, y] = place(node);
      let best = null, least = Infinity;
      for (const other of nodes) {
        const [right, down] = [place(other)[0] - x, place(other)[1] - y];
        const along = right * dx + down * dy, aside = Math.abs(right * dy) + Math.abs(down * dx);
        // Straight on before aside; what lies more aside than ahead is reached by another arrow.
        const far = along + 2 * aside;
        if (along > 0 && aside <= along && far < least) { best = other; least = far; }
      }
      return best;
    }
    const ways = new Map(nodes.map((node) => [node, {}]));
    for (const [node, way] of ways) for (const key of Object.keys(turns)) way[key] = beside(node, turns[key]);
    function reached() {
      const seen = new Set(nodes.slice(0, 1));
      for (const node of seen) for (const other of Object.values(ways.get(node))) if (other) seen.add(other);
      return seen;
    }
    for (let seen = reached(); seen.size < nodes.length; seen = reached()) {
      let best = null, least = Infinity;
      for (const from of seen) for (const to of nodes) {
        const [right, down] = [place(to)[0] - place(from)[0], place(to)[1] - place(from)[1]];
        if (seen.has(to) || Math.hypot(right, down) >= least) continue;
        least = Math.hypot(right, down);
        const key = Math.abs(right) >= Math.abs(down) ? (right < 0 ? "ArrowLeft" : "ArrowRight") : down < 0 ? "ArrowUp" : "ArrowDown";
        best = [from, to, key];
      }
      const [from, to, key] = best, behind = ways.get(from)[key];
      ways.get(from)[key] = to;
      if (behind) ways.get(to)[key] = behind;
    }
    figure.addEventListener("focusin", (event) => {
      const node = event.target.closest("[data-at]");
      if (!node) return;
      for (const other of nodes) { other.tabIndex = other === node ? 0 : -1; other.classList.remove("near"); }
      const names = [];
      for (const link of links) {
        const ends = link.dataset.ends.split(" ").map(Number);
        const mine = ends.includes(number(node));
        link.classList.toggle("near", mine);
        if (!mine) continue;
        const other = nodes[ends[0] === number(node) ? ends[1] : ends[0]];
        other.classList.add("near");
        names.push(other.getAttribute("aria-label").split(":")[0]);
      }
      drawing.classList.add("picking");
      const shown = names.slice(0, 12).join(", ") + (names.length > 12 ? ` and ${names.length - 12} more` : "");
      figure.querySelector("[data-picked]").textContent = `${node.getAttribute("aria-label")}. Linked with ${shown || "nothing that is shown"}.`;
    });
    figure.addEventListener("focusout", (event) => {
      if (!drawing.contains(event.relatedTarget)) drawing.classList.remove("picking");
    });
    figure.addEventListener("keydown", (event) => {
      const node = event.target.closest("[data-at]");
      if (!node || event.ctrlKey || event.metaKey || event.altKey) return;
      const next = event.key === "Home" ? nodes[0] : event.key === "End" ? nodes.at(-1) : ways.get(node)[event.key];
      if (next === undefined) return;
      event.preventDefault();
      next?.focus();
    });
    figure.addEventListener("click", (event) => event.target.closest("[data-at]")?.focus());
  }
  // Who is about to be signed out is told two minutes before, and stays signed in by one press.
  const idle = document.getElementById("idle");
  if (idle) {
    const told = idle.querySelector("span").textContent, lasts = Number(document.body.dataset.idle) * 1000;
    let soon, over;
    const say = (text, more) => { idle.querySelector("span").textContent = text; idle.querySelector("button").hidden = !more; idle.hidden = false; };
    const ended = () => say("Your session has ended. Copy what you have typed before you sign in again.", false);
    const begin = () => {
      clearTimeout(soon); clearTimeout(over);
      idle.hidden = true;
      soon = setTimeout(() => say(told, true), lasts - 120000);
      over = setTimeout(ended, lasts);
    };
    begin();
    idle.querySelector("button").addEventListener("click", () => fetch("/account", { redirect: "manual" }).then((answer) => answer.ok ? begin() : ended(), () => say("The service does not answer. Try again.", true)));
  }
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
