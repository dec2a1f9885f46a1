// The console's script: log and resource usage of a game's page, badges of the list of games, and local times.
// htmx refreshes everything else.
"use strict";

(() => {
  const PERIOD_MS = 2000;
  const MAX_LINES = 2000;
  const MAX_POINTS = 150;
  const byId = (id) => document.getElementById(id);
  const pageIsVisible = () => document.visibilityState === "visible";

  function repeat(work) {
    const run = async () => {
      if (pageIsVisible()) await work();
      window.setTimeout(run, PERIOD_MS);
    };
    run();
  }

  // No address that the script requests leads elsewhere, except to the sign-in page after the session has ended. That
  // page must then lead back to this page, not to the part that was requested.
  let isLeaving = false;
  function leaveForSignIn(address) {
    // A second request that ends meanwhile must not begin the navigation again.
    if (isLeaving) return;
    isLeaving = true;
    const signIn = new URL(address, window.location.href);
    signIn.searchParams.set("next", window.location.pathname + window.location.search);
    window.location.assign(signIn);
  }

  async function getJson(url) {
    const response = await fetch(url, { headers: { Accept: "application/json" } });
    if (response.redirected) {
      leaveForSignIn(response.url);
      throw new Error("your session has ended");
    }
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    return response.json();
  }

  // A time in the viewer's zone follows the UTC time; nothing is added when the viewer's zone is UTC.
  const localTime = new Intl.DateTimeFormat(undefined, {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
  });

  function addLocalTimes(root) {
    for (const element of root.querySelectorAll("time[datetime]:not([data-local])")) {
      const at = new Date(element.dateTime);
      element.dataset.local = "";
      if (Number.isNaN(at.getTime()) || at.getTimezoneOffset() === 0) continue;
      element.title = localTime.format(at);
      if (/\d\d:\d\d:\d\d UTC$/.test(element.textContent.trim())) {
        const local = document.createElement("span");
        local.className = "rtm-local";
        local.textContent = ` (${localTime.format(at)})`;
        element.append(local);
      }
    }
  }

  // The admin's lists and pages show a time as text: "2026-11-21 08:30:00 UTC".
  function markTimes(root) {
    for (const element of root.querySelectorAll("#result_list td, #content fieldset div, .rtm-table td")) {
      const match = element.childElementCount === 0 && element.textContent.trim().match(/^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC$/);
      if (!match) continue;
      const time = document.createElement("time");
      time.dateTime = `${match[1]}T${match[2]}Z`;
      time.textContent = match[0];
      element.replaceChildren(time);
    }
  }

  function drawLine(line, query) {
    const row = document.createElement("div");
    row.className = line.stream === "stderr" ? "rtm-stderr" : "";
    row.append(line.at ? `${line.at.slice(11, 19)} ` : "");
    const at = query ? line.line.toLowerCase().indexOf(query) : -1;
    if (at < 0) {
      const text = document.createElement("span");
      // The server escapes the line and adds only spans for its colours.
      text.innerHTML = line.html;
      row.append(text);
    } else {
      const mark = document.createElement("mark");
      mark.textContent = line.line.slice(at, at + query.length);
      row.append(line.line.slice(0, at), mark, line.line.slice(at + query.length));
    }
    return row;
  }

  function watchLog(log) {
    const search = byId("log-search");
    const note = byId("log-note");
    let lines = [];
    let container = "";

    function draw() {
      const query = search.value.trim().toLowerCase();
      const shown = query ? lines.filter((line) => line.line.toLowerCase().includes(query)) : lines;
      log.replaceChildren(...shown.map((line) => drawLine(line, query)));
      if (query) note.textContent = `${shown.length} of ${lines.length} lines`;
      if (byId("log-follow").checked) log.scrollTop = log.scrollHeight;
    }

    search.addEventListener("input", draw);
    repeat(async () => {
      if (lines.length && !byId("log-follow").checked) return;
      const last = lines.findLast((line) => line.at);
      const since = last ? `?since=${encodeURIComponent(last.at)}` : "";
      try {
        const response = await getJson(log.dataset.url + since);
        note.textContent = response.note;
        if (response.container_id !== container) lines = [];
        container = response.container_id;
        const known = new Set(lines.slice(-MAX_POINTS).map((line) => line.at + line.line));
        const fresh = response.items.filter((line) => !known.has(line.at + line.line));
        if (lines.length + fresh.length === 0 && !response.note) note.textContent = "The container has written no log lines.";
        if (fresh.length === 0 && log.childElementCount) return;
        lines = lines.concat(fresh).slice(-MAX_LINES);
        draw();
      } catch (error) {
        note.textContent = `No log: ${error.message}`;
      }
    });
  }

  const mebibytes = (bytes) => `${(bytes / 1048576).toFixed(1)} MiB`;
  const percent = (value) => `${value.toFixed(1)} %`;
  const kibibytesPerSecond = (bytes) => `${(bytes / 1024).toFixed(1)} KiB/s`;

  class Gauge {
    constructor(name, format) {
      this.root = byId(`gauge-${name}`);
      this.format = format;
      this.points = [];
    }

    show(value, text = this.format(value)) {
      this.root.querySelector("output").textContent = text;
      this.points = [...this.points, { value, at: Date.now() }].slice(-MAX_POINTS);
      const highest = Math.max(...this.points.map((point) => point.value), 1e-9);
      const step = 120 / Math.max(this.points.length - 1, 1);
      const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
      const places = this.points.map((point, i) => `${(i * step).toFixed(1)},${(29 - (28 * point.value) / highest).toFixed(1)}`);
      line.setAttribute("points", places.join(" "));
      this.root.querySelector("svg").replaceChildren(line);
      this.root.querySelector(".rtm-highest").textContent = this.format(highest);
      this.root.querySelector(".rtm-first").textContent = `${Math.round((Date.now() - this.points[0].at) / 1000)} s ago`;
    }
  }

  function watchUsage(usage) {
    const cpu = new Gauge("cpu", percent);
    const memory = new Gauge("memory", mebibytes);
    const received = new Gauge("rx", kibibytesPerSecond);
    const sent = new Gauge("tx", kibibytesPerSecond);
    let last = null;

    function rate(now, field) {
      const seconds = (Date.parse(now.at) - Date.parse(last.at)) / 1000;
      return seconds > 0 ? Math.max(0, now[field] - last[field]) / seconds : 0;
    }

    repeat(async () => {
      try {
        const now = await getJson(usage.dataset.url);
        // A note says why there is nothing to measure, usually because no container runs.
        usage.hidden = Boolean(now.note);
        if (now.note) return;
        cpu.show(now.cpu_percent);
        memory.show(now.memory_bytes, mebibytes(now.memory_bytes) + (now.memory_limit_bytes ? ` of ${mebibytes(now.memory_limit_bytes)}` : ""));
        if (last && last.container_id === now.container_id) {
          received.show(rate(now, "network_rx_bytes"));
          sent.show(rate(now, "network_tx_bytes"));
        }
        last = now;
      } catch {
        usage.hidden = true;
      }
    });
  }

  // In the list of games only the badges are refreshed: the selection stays as it is.
  function watchBadges(badges) {
    const games = [...new Set(badges.map((badge) => badge.dataset.game))];
    const query = games.map((game) => `game=${encodeURIComponent(game)}`).join("&");
    repeat(async () => {
      try {
        const response = await getJson(`${badges[0].dataset.url}?${query}`);
        for (const badge of badges) {
          const html = response[badge.dataset.game]?.[badge.dataset.part];
          if (html && badge.innerHTML !== html) badge.innerHTML = html;
        }
      } catch {
        // The next pass tries again; the list stays as it is.
      }
    });
  }

  // A refreshed part keeps the details that the viewer opened, and the place where the viewer scrolled to.
  let opened = new Map();
  let scrolled = new Map();
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr, pathInfo } = event.detail;
    if (xhr.responseURL !== new URL(pathInfo.finalRequestPath, window.location.href).href) {
      event.detail.shouldSwap = false;
      leaveForSignIn(xhr.responseURL);
      return;
    }
    opened = new Map([...target.querySelectorAll("details[id]")].map((details) => [details.id, details.open]));
    scrolled = new Map([...target.querySelectorAll(".rtm-last-lines[id]")].map((lines) => [lines.id, lines.scrollTop]));
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const target = event.detail.target;
    for (const details of target.querySelectorAll("details[id]")) {
      if (opened.has(details.id)) details.open = opened.get(details.id);
    }
    for (const lines of target.querySelectorAll(".rtm-last-lines[id]")) {
      lines.scrollTop = scrolled.get(lines.id) ?? lines.scrollHeight;
    }
    markTimes(document);
    addLocalTimes(document);
  });

  document.addEventListener("DOMContentLoaded", () => {
    const log = byId("log");
    const usage = byId("usage");
    if (log) watchLog(log);
    if (usage) watchUsage(usage);
    const badges = [...document.querySelectorAll("[data-game]")];
    if (badges.length) watchBadges(badges);
    markTimes(document);
    addLocalTimes(document);
  });
})();
