// Keeps a page up to date: asks for it anew, and puts in what differs. Without it the page reloads itself now and then.
"use strict";
(() => {
  const body = document.body;
  const address = body.dataset.live;
  const period = "slow" in body.dataset ? 15000 : 2000;
  const ahead = Number(body.dataset.now) * 1000 - Date.now();
  const known = new Map();
  let tag = "";
  let since = null;

  const parts = (root) => [...root.querySelectorAll("[data-part]")];
  for (const part of parts(document)) known.set(part.id, part.outerHTML);

  // What a person is at work on stays, with the revision that they saw.
  const isHeld = (part) => part.querySelector("details.order[open]") !== null;
  const controls = (part) => [...part.querySelectorAll("a, button, input, summary")];

  function until(seconds) {
    const left = Math.round(Math.abs(seconds));
    const [hours, minutes] = [Math.floor(left / 3600), Math.floor(left / 60) % 60];
    const said = hours ? `${hours} h ${minutes} min` : left >= 600 ? `${minutes} min` : left >= 60 ? `${minutes} min ${left % 60} s` : `${left} s`;
    return seconds >= 0 ? ` (in ${said})` : ` (${said} ago)`;
  }

  function count() {
    const now = (Date.now() + ahead) / 1000;
    for (const one of document.querySelectorAll("time[data-at]")) {
      one.dataset.said ??= one.textContent;
      one.textContent = one.dataset.said + until(Number(one.dataset.at) - now);
    }
  }

  function put(page) {
    const fresh = parts(page);
    const same = fresh.map((part) => part.id).join() === parts(document).map((part) => part.id).join();
    if (!same) {
      if (document.querySelector("details.order[open]")) return false;
      document.querySelector("main").replaceWith(document.importNode(page.querySelector("main"), true));
      body.className = page.body.className;
      for (const part of parts(document)) known.set(part.id, part.outerHTML);
      return true;
    }
    let whole = true;
    for (const part of fresh) {
      const html = part.outerHTML;
      if (known.get(part.id) === html) continue;
      const old = document.getElementById(part.id);
      if (isHeld(old)) { whole = false; continue; }
      const made = document.importNode(part, true);
      const focused = controls(old).indexOf(document.activeElement);
      old.replaceWith(made);
      if (focused >= 0) controls(made)[focused]?.focus({ preventScroll: true });
      known.set(part.id, html);
      if (made.matches(".title, .notices, .answers")) made.classList.add("changed");
    }
    document.title = page.title;
    return whole;
  }

  function missing(isMissing) {
    const contact = document.querySelector(".contact");
    if (!isMissing) { since = null; contact.hidden = true; return; }
    if (since === null) {
      since = new Date(Date.now() + ahead).toISOString().slice(11, 19);
      contact.querySelector("time").textContent = since;
      contact.hidden = false;
    }
  }

  async function look() {
    if (document.hidden) return;
    try {
      const answer = await fetch(address, {
        headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(10000),
      });
      if (answer.type === "opaqueredirect") { location.assign(address); return; }
      if (answer.status !== 200 && answer.status !== 304) { missing(true); return; }
      missing(false);
      if (answer.status === 200) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        tag = put(page) ? answer.headers.get("ETag") ?? "" : "";
        count();
      }
    } catch { missing(true); }
  }

  async function forever() {
    await look();
    setTimeout(forever, period);
  }

  document.addEventListener("submit", (event) => {
    for (const button of event.target.querySelectorAll("button")) setTimeout(() => { button.disabled = true; });
  });
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const one of document.querySelectorAll("details.order[open]")) one.open = false;
  });
  document.addEventListener("visibilitychange", look);
  count();
  setInterval(count, 1000);
  setTimeout(forever, period);
})();
