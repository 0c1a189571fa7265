// Shows rounds as they come, times as the reader's clock has them, and the numbers of a chart where
// it is pointed at. Pages are whole without it.
"use strict";

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (!Number.isNaN(date.getTime())) {
      time.textContent = "about " + date.toLocaleString();
    }
  }
}

// Says what a chart has where it is pointed at, or gone to by the arrow keys.
function readable(root) {
  const along = (spot) => Number(spot.getAttribute("cx") ?? spot.getAttribute("x"));
  for (const chart of root.querySelectorAll("figure > svg.chart")) {
    const spots = [...chart.querySelectorAll(".spot, .dot, .gain, .harm")];
    if (spots.length === 0) {
      continue;
    }
    spots.sort((a, b) => along(a) - along(b));
    const said = document.createElement("p");
    said.className = "readout";
    said.setAttribute("role", "status");
    chart.after(said);
    chart.setAttribute("tabindex", "0");
    let now = spots.length;
    const tell = (next) => {
      spots[now]?.classList.remove("on");
      now = Math.min(Math.max(next, 0), spots.length - 1);
      spots[now].classList.add("on");
      said.textContent = spots[now].querySelector("title").textContent;
    };
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
      const away = spots.map((spot) => Math.abs(along(spot) - x));
      tell(away.indexOf(Math.min(...away)));
    });
    chart.addEventListener("keydown", (event) => {
      const keys = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: spots.length };
      const next = keys[event.key];
      if (next !== undefined) {
        event.preventDefault();
        tell(next);
      }
    });
  }
}

async function renew() {
  // A dashboard that has just ended is told of by its events, and renews pages when it is back.
  const asked = fetch(location.href, { headers: { accept: "text/html" } });
  const answer = await asked.catch(() => null);
  if (!answer?.ok) {
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("content");
  const old = document.getElementById("content");
  // Whoever writes or has marked something is not disturbed.
  if (fresh && old && !old.contains(document.activeElement) && getSelection().isCollapsed) {
    old.replaceWith(document.adoptNode(fresh));
    localTimes(document.getElementById("content"));
    readable(document.getElementById("content"));
  }
}

function listen() {
  const status = document.getElementById("live");
  const news = new EventSource("/events");
  let due = 0;
  news.addEventListener("open", () => {
    status.textContent = "live";
  });
  news.addEventListener("error", () => {
    status.textContent = "not live: waiting for the dashboard";
  });
  news.addEventListener("round", (event) => {
    const round = JSON.parse(event.data);
    status.textContent = `round ${round.number} of ${round.competition}, block ${round.block}`;
    // Not all that look at once: each page is made anew for each of them.
    clearTimeout(due);
    due = setTimeout(renew, 100 + Math.random() * 1900);
  });
  return news;
}

// Listens while somebody looks: a browser has six connections to an address for all of its tabs,
// those that one can go back to included.
function follow() {
  let news = document.hidden ? null : listen();
  document.addEventListener("visibilitychange", () => {
    news?.close();
    news = document.hidden ? null : listen();
    if (news) {
      renew();
    }
  });
}

localTimes(document);
readable(document);
if (document.querySelector("main[data-live]")) {
  follow();
}
