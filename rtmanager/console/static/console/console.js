// What a game's page draws by itself: the container's log and what it uses. Everything else htmx renews.
"use strict";

(() => {
  const PERIOD_MS = 2000;
  const MOST_LINES = 2000;
  const MOST_POINTS = 150;
  const byId = (id) => document.getElementById(id);
  const isSeen = () => document.visibilityState === "visible";

  function repeat(work) {
    const run = async () => {
      if (isSeen()) await work();
      window.setTimeout(run, PERIOD_MS);
    };
    run();
  }

  async function ask(url) {
    const answer = await fetch(url, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    return answer.json();
  }

  function drawLine(line, wanted) {
    const row = document.createElement("div");
    row.className = line.stream === "stderr" ? "rtm-stderr" : "";
    const at = wanted ? line.line.toLowerCase().indexOf(wanted) : -1;
    row.append(line.at ? `${line.at.slice(11, 19)} ` : "");
    if (at < 0) {
      row.append(line.line);
    } else {
      const mark = document.createElement("mark");
      mark.textContent = line.line.slice(at, at + wanted.length);
      row.append(line.line.slice(0, at), mark, line.line.slice(at + wanted.length));
    }
    return row;
  }

  function watchLog(log) {
    const search = byId("log-search");
    const note = byId("log-note");
    let lines = [];
    let container = "";

    function draw() {
      const wanted = search.value.trim().toLowerCase();
      const shown = wanted ? lines.filter((one) => one.line.toLowerCase().includes(wanted)) : lines;
      log.replaceChildren(...shown.map((one) => drawLine(one, wanted)));
      if (wanted) note.textContent = `${shown.length} of ${lines.length} lines`;
      if (byId("log-follow").checked) log.scrollTop = log.scrollHeight;
    }

    search.addEventListener("input", draw);
    repeat(async () => {
      if (lines.length && !byId("log-follow").checked) return;
      const last = lines.findLast((one) => one.at);
      const since = last ? `?since=${encodeURIComponent(last.at)}` : "";
      try {
        const answer = await ask(log.dataset.url + since);
        note.textContent = answer.note;
        if (answer.container_id !== container) lines = [];
        container = answer.container_id;
        const known = new Set(lines.slice(-MOST_POINTS).map((one) => one.at + one.line));
        const fresh = answer.items.filter((one) => !known.has(one.at + one.line));
        if (fresh.length === 0 && log.childElementCount) return;
        lines = lines.concat(fresh).slice(-MOST_LINES);
        draw();
      } catch (error) {
        note.textContent = `No log: ${error.message}`;
      }
    });
  }

  const mebibytes = (bytes) => `${(bytes / 1048576).toFixed(1)} MiB`;

  class Gauge {
    constructor(name) {
      this.output = byId(`use-${name}`);
      this.plot = byId(`plot-${name}`);
      this.points = [];
    }

    show(value, text) {
      this.output.textContent = text;
      this.points = [...this.points, value].slice(-MOST_POINTS);
      const highest = Math.max(...this.points, 1e-9);
      const step = 120 / Math.max(this.points.length - 1, 1);
      const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
      line.setAttribute("points", this.points.map((one, i) => `${(i * step).toFixed(1)},${(29 - (28 * one) / highest).toFixed(1)}`).join(" "));
      this.plot.replaceChildren(line);
    }
  }

  function watchUse(use) {
    const note = byId("use-note");
    const [cpu, memory, rx, tx] = ["cpu", "memory", "rx", "tx"].map((name) => new Gauge(name));
    let last = null;

    function rate(now, field) {
      const seconds = (Date.parse(now.at) - Date.parse(last.at)) / 1000;
      return seconds > 0 ? Math.max(0, now[field] - last[field]) / seconds : 0;
    }

    repeat(async () => {
      try {
        const now = await ask(use.dataset.url);
        note.textContent = now.note;
        if (now.note) return;
        cpu.show(now.cpu_percent, `${now.cpu_percent.toFixed(1)} %`);
        memory.show(now.memory_bytes, mebibytes(now.memory_bytes) + (now.memory_limit_bytes ? ` of ${mebibytes(now.memory_limit_bytes)}` : ""));
        if (last && last.container_id === now.container_id) {
          for (const [gauge, field] of [[rx, "network_rx_bytes"], [tx, "network_tx_bytes"]]) {
            const perSecond = rate(now, field);
            gauge.show(perSecond, `${(perSecond / 1024).toFixed(1)} KiB/s`);
          }
        }
        last = now;
      } catch (error) {
        note.textContent = `Not known: ${error.message}`;
      }
    });
  }

  // In a list of games the badges are renewed, and nothing else: what is ticked stays ticked.
  function watchBadges(badges) {
    const games = [...new Set(badges.map((one) => one.dataset.game))];
    const query = games.map((game) => `game=${encodeURIComponent(game)}`).join("&");
    repeat(async () => {
      try {
        const told = await ask(`${badges[0].dataset.url}?${query}`);
        for (const one of badges) {
          const html = told[one.dataset.game]?.[one.dataset.what];
          if (html && one.innerHTML !== html) one.innerHTML = html;
        }
      } catch {
        // Shown again at the next turn; the list stays as it was read.
      }
    });
  }

  // A renewed part keeps what somebody has opened in it.
  let opened = new Map();
  document.addEventListener("htmx:beforeSwap", (event) => {
    const details = [...event.detail.target.querySelectorAll("details[id]")];
    opened = new Map(details.map((one) => [one.id, one.open]));
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    for (const one of event.detail.target.querySelectorAll("details[id]")) {
      if (opened.has(one.id)) one.open = opened.get(one.id);
    }
  });

  document.addEventListener("DOMContentLoaded", () => {
    const log = byId("log");
    const use = byId("use");
    if (log) watchLog(log);
    if (use) watchUse(use);
    const badges = [...document.querySelectorAll("[data-game]")];
    if (badges.length) watchBadges(badges);
  });
})();
