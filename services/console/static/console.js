// What HTML alone cannot: the menu of small screens, the lightbox, a page that comes back by itself.

const menu = document.querySelector(".menu");
const menuSwitch = document.querySelector(".menu-switch");
document.documentElement.classList.remove("no-script");

menuSwitch?.addEventListener("click", () => {
  const open = menu.classList.toggle("open");
  menuSwitch.setAttribute("aria-expanded", String(open));
});

// A form that ends something asks first.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.ask ?? event.target.dataset.ask;
  if (question && !window.confirm(question)) event.preventDefault();
});

// ---------------------------------------------------------------- lightbox
const lightbox = document.querySelector("dialog.lightbox");
let shown = null;

async function show(link) {
  const answer = await fetch(link.href, { headers: { "HX-Request": "true" } });
  if (!answer.ok) {
    window.location.assign(link.href);
    return;
  }
  // Our own server's HTML, in which everything of others is escaped.
  lightbox.querySelector(".lightbox-content").innerHTML = await answer.text();
  lightbox.querySelector(".lightbox-page").href = link.href;
  shown = link;
  if (!lightbox.open) lightbox.showModal();
}

function neighbour(step) {
  const links = [...document.querySelectorAll("a[data-lightbox]")];
  const next = links[links.indexOf(links.find((one) => one.href === shown?.href)) + step];
  if (next) show(next);
}

if (lightbox) {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-lightbox]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(link);
  });
  lightbox.addEventListener("click", (event) => {
    if (event.target === lightbox || event.target.closest("[data-close]")) lightbox.close();
    const step = event.target.closest("[data-step]");
    if (step) neighbour(Number(step.dataset.step));
  });
  lightbox.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") neighbour(1);
    if (event.key === "ArrowLeft") neighbour(-1);
  });
  lightbox.addEventListener("close", () => {
    const again = [...document.querySelectorAll("a[data-lightbox]")].find((one) => one.href === shown?.href);
    again?.focus();
  });
}

// ---------------------------------------------------------------- the gateway is away
// A page that could not be drawn looks whether it can be now, and only then loads again.
const again = document.querySelector("[data-again-seconds]");
if (again) {
  const look = async () => {
    const answer = await fetch(window.location.href, { headers: { Accept: "text/html" } }).catch(() => null);
    if (answer && answer.status !== 503) window.location.reload();
    else window.setTimeout(look, Number(again.dataset.againSeconds) * 1000);
  };
  window.setTimeout(look, Number(again.dataset.againSeconds) * 1000);
}

// A session that ended while its page was open: the stream is refused, and the page says why.
document.addEventListener("htmx:sseError", (event) => {
  event.detail.elt?.setAttribute("data-stream", "broken");
});
