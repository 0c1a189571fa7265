// Shows rounds as they come, and times as the reader's clock has them. Pages are whole without it.
"use strict";

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (!Number.isNaN(date.getTime())) {
      time.textContent = "about " + date.toLocaleString();
    }
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
    clearTimeout(due);
    due = setTimeout(renew, 200);
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
if (document.querySelector("main[data-live]")) {
  follow();
}
