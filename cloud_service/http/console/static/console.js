"use strict";

// Shows progress by itself, says that something is being done, and copies a new key. Pages work without it.

// Parts that change: fetched again while somebody looks, and replaced unless something in them has the focus.
function keepLive(region) {
  const refresh = async () => {
    if (document.hidden || region.contains(document.activeElement)) {
      return true;
    }
    let answer;
    try {
      answer = await fetch(region.dataset.from, { credentials: "same-origin" });
    } catch {
      return true; // the network may be back at the next time
    }
    if (answer.redirected) {
      return false; // signed out
    }
    if (!answer.ok) {
      return answer.status >= 500;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(region.id);
    if (fresh === null) {
      return false;
    }
    if (fresh.dataset.live === undefined) {
      location.replace(region.dataset.from); // it is over, and the rest of the page says what came of it
      return false;
    }
    region.replaceChildren(...fresh.childNodes);
    return true;
  };
  const wait = () => setTimeout(async () => (await refresh()) && wait(), 1000 * Number(region.dataset.live));
  wait();
}

function showBusy(form) {
  const button = form.querySelector("button.main");
  const status = form.querySelector(".busy");
  form.addEventListener("submit", () => {
    status.textContent = form.dataset.busy;
    setTimeout(() => (button.disabled = true));
  });
  // A page that comes back from the browser's memory has no request that goes on.
  addEventListener("pageshow", () => {
    status.textContent = "";
    button.disabled = false;
  });
}

function offerCopy(button) {
  if (!navigator.clipboard) {
    return;
  }
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

document.querySelectorAll("[data-live]").forEach(keepLive);
document.querySelectorAll("[data-busy]").forEach(showBusy);
document.querySelectorAll("[data-copy]").forEach(offerCopy);
