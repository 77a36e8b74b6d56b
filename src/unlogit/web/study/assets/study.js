// A participant's page. Answers are kept in the browser until the server has acknowledged them, so that a reload or a
// lost connection loses none; each carries a key of its own, so that sending it again counts nothing twice.
"use strict";

const study = document.body.dataset.study;
const base = `/s/${study}`;
// The parameters of the link that the study keeps. Who has an id there goes on by it in any browser; what this browser
// keeps is kept by that id, so that two people can use it.
const given = new URLSearchParams(location.search);
const parameters = {};
for (const name of document.body.dataset.parameters.split(" ")) {
  if (name && given.has(name)) parameters[name] = given.get(name).slice(0, 256);
}
const identity = document.body.dataset.identity.split(" ").map((name) => parameters[name]).find(Boolean);
const store = identity ? `${base}/${encodeURIComponent(identity)}` : base;
const el = (id) => document.getElementById(id);
const naming = document.body.dataset.trial === "naming";
const buttons = Array.from(el("choices").children);
const images = Array.from(el("stage").querySelectorAll("img"));
const AHEAD = 2; // trials that are loaded before they are asked for
const RESTING = 160; // ms that the choice is seen before the next trial
const LONGEST = 10000; // ms between two tries

// ---- what the browser keeps; in memory only where it is not allowed to keep anything

const memory = new Map();
const kept = {
  get(name) {
    try { return localStorage.getItem(`${store}/${name}`); } catch { return memory.get(name) ?? null; }
  },
  set(name, value) {
    try { localStorage.setItem(`${store}/${name}`, value); } catch { memory.set(name, value); }
  },
  remove(name) {
    try { localStorage.removeItem(`${store}/${name}`); } catch { memory.delete(name); }
  },
};

function secret() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function notice(text) {
  el("notice").hidden = !text;
  el("notice").textContent = text;
}

function screen(name) {
  for (const one of ["welcome", "trial", "end"]) el(one).hidden = one !== name;
}

// ---- talking to the server

// The parsed response; tries again until there is one. Null where the server refuses for good.
async function post(path, body) {
  for (let tries = 0; ; tries++) {
    let wait = Math.min(LONGEST, 250 * 2 ** tries);
    try {
      const response = await fetch(base + path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(20000),
      });
      if (response.ok) {
        notice("");
        return await response.json();
      }
      if (response.status < 500 && response.status !== 429) return null;
      wait = Math.max(wait, 1000 * (Number(response.headers.get("retry-after")) || 0));
    } catch { /* no connection; try again */ }
    if (tries > 0) notice("No connection. Your answers are kept here and sent when it is back.");
    await pause(wait);
  }
}

const participant = kept.get("participant") ?? secret();
let trials = []; // of ids of pictures: [reference, left, right], or [image] where it is to be named
let choices = []; // by trial, the names to choose from
let checks = {}; // by the number of an attention check, the name that it asks for
let open = []; // numbers of trials that are still to be shown
let sending = Promise.resolve();

function queue(number, answer) {
  kept.set(`answer/${number}`, JSON.stringify(answer));
  send(number, answer);
}

function send(number, answer) {
  sending = sending.then(async () => {
    // Null: another tab has answered this trial, and the first answer counts.
    await post("/answers", answer);
    kept.remove(`answer/${number}`);
  });
}

// ---- pictures

const loaded = new Map();

function load(id) {
  if (!loaded.has(id)) loaded.set(id, attempt(id));
  return loaded.get(id);
}

async function attempt(id) {
  for (let tries = 0; ; tries++) {
    const image = new Image();
    // Another address after a failure, which a browser may have remembered.
    image.src = `${base}/pictures/${id}.png${tries ? `?${tries}` : ""}`;
    try {
      await image.decode();
      if (tries > 1) notice("");
      return image;
    } catch {
      if (tries > 0) notice("No connection. Waiting for the next images.");
      await pause(Math.min(LONGEST, 250 * 2 ** tries));
    }
  }
}

// ---- trials

let current = null; // { number, since, shows } while a choice is awaited

async function show() {
  if (!open.length) return finish();
  const number = open[0];
  for (const ahead of open.slice(0, 1 + AHEAD)) trials[ahead].forEach(load);
  el("stage").classList.add("waiting");
  const pictures = await Promise.all(trials[number].map(load));
  pictures.forEach((picture, i) => { images[i].src = picture.src; });
  await Promise.all(images.map((image) => image.decode().catch(() => null)));
  if (naming) {
    images[0].hidden = number in checks;
    el("check").hidden = !images[0].hidden;
    el("check").lastElementChild.textContent = checks[number] ?? "";
    buttons.forEach((button, i) => { button.lastElementChild.textContent = choices[number][i]; });
  }
  el("stage").classList.remove("waiting");
  for (const button of buttons) button.classList.remove("chosen");
  const done = trials.length - open.length;
  el("progress").value = done;
  el("progress").max = trials.length;
  el("count").textContent = `${done + 1} of ${trials.length}`;
  const shows = 1 + Number(kept.get(`shows/${number}`) ?? 0);
  kept.set(`shows/${number}`, shows);
  // The clock starts when the frame that holds the pictures has been drawn.
  requestAnimationFrame(() => requestAnimationFrame((since) => {
    current = { number, since, shows };
    document.body.dataset.awaiting = number;
  }));
}

async function choose(index) {
  if (!current || !buttons[index]) return;
  const { number, since, shows } = current;
  current = null;
  delete document.body.dataset.awaiting;
  const milliseconds = Math.max(0, Math.round(performance.now() - since));
  const chosen = (naming ? choices[number] : ["left", "right"])[index];
  queue(number, { participant, key: secret(), trial: number, chosen, milliseconds, shows });
  kept.remove(`shows/${number}`);
  buttons[index].classList.add("chosen");
  buttons[index].blur();
  trials[number].forEach((id) => loaded.delete(id));
  open.shift();
  await pause(RESTING);
  await show();
}

async function finish() {
  el("progress").value = trials.length;
  await sending;
  await Promise.race([logging, pause(3000)]);
  const next = await post("/end", { participant });
  screen("end");
  if (!next?.redirect) return;
  el("redirect").hidden = false;
  el("redirect").firstElementChild.href = next.redirect; // Where going there by itself does not work.
  location.replace(next.redirect);
}

// ---- whether the participant looks at the page

let logging = Promise.resolve();

function log(kind) {
  if (!trials.length || !el("end").hidden) return;
  const seen = { participant, kind, moment: Date.now(), trial: current ? current.number : -1 };
  logging = logging.then(() => post("/attention", seen));
}

addEventListener("blur", () => log("blur"));
addEventListener("focus", () => log("focus"));

async function begin() {
  const state = await post("/participants", {
    participant,
    parameters,
    screen: { width: innerWidth, height: innerHeight, ratio: devicePixelRatio },
  });
  if (!state) return notice("This study cannot be taken now. Load the page again later.");
  kept.set("participant", participant);
  ({ trials, choices = [], checks = {} } = state);
  const answered = new Set(state.answered);
  for (let number = 0; number < trials.length; number++) {
    const waiting = kept.get(`answer/${number}`);
    if (!waiting) continue;
    answered.add(number);
    send(number, JSON.parse(waiting));
  }
  open = trials.map((_, number) => number).filter((number) => !answered.has(number));
  screen("trial");
  await show();
}

// The choice that a key stands for: a letter for a name (by its position on keyboards of other alphabets), else a side.
function keyed(event) {
  if (!naming) return { ArrowLeft: 0, 1: 0, ArrowRight: 1, 2: 1 }[event.key];
  const letter = /^[a-z]$/i.test(event.key) ? event.key : event.code.replace(/^Key/, "");
  return /^[a-z]$/i.test(letter) ? letter.toUpperCase().charCodeAt(0) - 65 : undefined;
}

buttons.forEach((button, index) => button.addEventListener("click", () => choose(index)));
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || el("trial").hidden) return;
  const index = keyed(event);
  if (index === undefined) return;
  event.preventDefault();
  choose(index);
});
el("begin").addEventListener("click", () => {
  el("begin").disabled = true;
  begin();
});

// Who began before goes on at once.
if (kept.get("participant")) begin();
else screen("welcome");
