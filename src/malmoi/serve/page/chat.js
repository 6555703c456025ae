import { streamAnswer } from "./stream.js";
import { words } from "./words.js";

const at = (id) => document.getElementById(id);
const stored = (name) => localStorage.getItem(`malmoi.${name}`);
const store = (name, value) => localStorage.setItem(`malmoi.${name}`, value);

let language = stored("language") ?? (navigator.language.startsWith("ko") ? "ko" : "en");
let model = null;
let messages = [];
let running = null;

function word(name, values = {}) {
  return words[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

function element(kind, name, text = "") {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  return made;
}

function translate() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = word(node.dataset.word);
  for (const node of document.querySelectorAll("[data-title]")) {
    node.title = word(node.dataset.title);
    node.setAttribute("aria-label", node.title);
  }
  const asked = word(model && !model.chat ? "text" : "message");
  at("input").placeholder = asked;
  at("input").setAttribute("aria-label", asked);
  if (model) describeModel();
}

function describeModel() {
  const compact = new Intl.NumberFormat(language, { notation: "compact", maximumSignificantDigits: 3 });
  const facts = { parameters: compact.format(model.parameters), context: model.context.toLocaleString(language) };
  at("model").textContent = model.id;
  at("about").textContent = word("about", facts) + (model.chat ? "" : ` ${word("base")}`);
  document.title = `${model.id} · malmoi`;
  for (const node of document.querySelectorAll(".chat-only")) node.hidden = !model.chat;
  at("ideas").replaceChildren(...word(model.chat ? "ideas" : "beginnings").split("|").map((idea) => {
    const item = document.createElement("li");
    const button = element("button", "", idea);
    button.onclick = () => say(idea);
    item.append(button);
    return item;
  }));
}

function headers() {
  const key = sessionStorage.getItem("malmoi.key");
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

async function findModel() {
  try {
    const response = await fetch("v1/models", { headers: headers() });
    if (response.status === 401) return openSettings("key");
    model = (await response.json()).data[0];
    translate();
  } catch {
    showError(word("unreachable"));
  }
}

/* Settings */

function openSettings(focus = "temperature") {
  if (!at("settings").open) at("settings").showModal();
  at(focus).focus();
}

function requestBody() {
  const system = at("system").value.trim();
  const shared = {
    temperature: Number(at("temperature").value),
    top_p: Number(at("top-p").value),
    repetition_penalty: Number(at("penalty").value),
    max_tokens: Math.max(1, Math.floor(Number(at("maximum").value)) || 512),
    stream: true,
    stream_options: { include_usage: true },
  };
  if (!model.chat) return { ...shared, prompt: messages.at(-1).content };
  return { ...shared, messages: [...(system ? [{ role: "system", content: system }] : []), ...messages] };
}

/* Dialogue */

function nearEnd() {
  const view = at("scroll");
  return view.scrollHeight - view.scrollTop - view.clientHeight < 80;
}

function scrollToEnd() {
  at("scroll").scrollTop = at("scroll").scrollHeight;
}

function showError(text) {
  const article = element("article", "error");
  article.append(element("p", "wrong", text));
  at("log").append(article);
  scrollToEnd();
}

function say(text) {
  if (running || !model) return;
  for (const old of document.querySelectorAll(".error")) old.remove();
  messages.push({ role: "user", content: text });
  const article = element("article", "user");
  article.append(element("div", "text", text));
  at("welcome").hidden = true;
  at("log").append(article);
  answer();
}

async function answer() {
  const article = element("article", "answer busy");
  const text = element("div", "text");
  const about = element("div", "about", word("waiting"));
  article.append(text, about);
  at("log").append(article);
  scrollToEnd();
  setRunning(new AbortController());

  const dialogue = messages;
  let tokens = 0, first = 0, reason = "stopped", failure = "";
  const speed = () => {
    const rate = tokens > 1 ? ((tokens - 1) / ((performance.now() - first) / 1000)).toFixed(1) : "–";
    return word("speed", { tokens, rate });
  };
  try {
    const path = model.chat ? "v1/chat/completions" : "v1/completions";
    for await (const chunk of streamAnswer(path, requestBody(), headers(), running.signal)) {
      if (chunk.usage) tokens = chunk.usage.completion_tokens;
      const choice = chunk.choices[0];
      if (!choice) continue;
      reason = choice.finish_reason ?? reason;
      const added = choice.delta?.content ?? choice.text ?? "";
      if (!added) continue;
      const follow = nearEnd();
      first ||= performance.now();
      tokens += 1;
      text.append(added);
      about.textContent = speed();
      if (follow) scrollToEnd();
    }
  } catch (error) {
    if (error.name !== "AbortError") failure = error.status ? error.message : word("unreachable");
    if (error.status === 401) openSettings("key");
  }
  setRunning(null);
  article.classList.remove("busy");
  if (failure && !text.textContent) {
    if (dialogue === messages) takeBack(article, failure);
    return;
  }
  finish(dialogue, article, text, about, tokens ? speed() : "", reason);
  if (failure && dialogue === messages) showError(failure);
}

/* A message that was never answered goes back to where it was written. */
function takeBack(article, failure) {
  const { content } = messages.pop();
  article.previousSibling?.remove();
  article.remove();
  if (!at("input").value) at("input").value = content;
  fit();
  showError(failure);
}

function finish(dialogue, article, text, about, speed, reason) {
  const content = text.textContent;
  const note = { stopped: word("stopped"), length: word("length") }[reason];
  const again = element("button", "quiet again", word("again"));
  again.onclick = () => {
    if (running) return;
    while (article.nextSibling) article.nextSibling.remove();
    article.remove();
    if (dialogue.at(-1)?.role === "assistant") dialogue.pop();
    answer();
  };
  if (content) dialogue.push({ role: "assistant", content });
  const copy = element("button", "quiet", word("copy"));
  copy.onclick = async () => {
    await navigator.clipboard.writeText(content);
    copy.textContent = word("copied");
    setTimeout(() => { copy.textContent = word("copy"); }, 1200);
  };
  about.replaceChildren(element("span", "", [speed, note].filter(Boolean).join(", ")), again, ...(content && navigator.clipboard ? [copy] : []));
  if (nearEnd()) scrollToEnd();
}

function setRunning(controller) {
  running = controller;
  at("stop").hidden = !running;
  at("send").hidden = Boolean(running);
  at("log").setAttribute("aria-busy", String(Boolean(running)));
}

/* Composer */

function fit() {
  const input = at("input");
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight}px`;
  at("send").disabled = !input.value.trim();
}

function send() {
  const text = at("input").value.trim();
  if (!text || running || !model) return;
  at("input").value = "";
  fit();
  say(text);
}

at("composer").onsubmit = (event) => { event.preventDefault(); send(); };
at("input").oninput = fit;
at("input").onkeydown = (event) => {
  // While a syllable is being composed, Enter belongs to the input method (229: browsers that end it first).
  const composing = event.isComposing || event.keyCode === 229;
  const touch = matchMedia("(pointer: coarse)").matches;
  if (event.key !== "Enter" || event.shiftKey || composing || touch) return;
  event.preventDefault();
  send();
};
at("stop").onclick = () => running?.abort();
document.onkeydown = (event) => { if (event.key === "Escape" && !at("settings").open) running?.abort(); };
at("fresh").onclick = () => {
  running?.abort();
  messages = [];
  at("log").replaceChildren();
  at("welcome").hidden = false;
  at("input").focus();
};
at("open-settings").onclick = () => openSettings();
at("settings-form").onsubmit = (event) => { event.preventDefault(); at("settings").close(); };
at("settings").onclose = () => {
  const key = at("key").value.trim();
  if (key) sessionStorage.setItem("malmoi.key", key);
  if (!model) findModel();
};
at("theme").onclick = () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  store("theme", document.documentElement.dataset.theme);
};
at("language").onclick = () => {
  language = language === "ko" ? "en" : "ko";
  store("language", language);
  translate();
};
for (const output of document.querySelectorAll("output")) {
  const input = at(output.htmlFor);
  const show = () => { output.textContent = Number(input.value).toFixed(input.step === "0.1" ? 1 : 2); };
  input.addEventListener("input", show);
  show();
}
if (stored("theme")) document.documentElement.dataset.theme = stored("theme");
translate();
fit();
findModel();
