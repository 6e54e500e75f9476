"use strict";

const element = (id) => document.getElementById(id);
const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];
const SAVED = [...NUMBERS, "system", "thinking"];

/** The conversation: messages as the API has them. */
let conversation = [];
/** Ends the answer under way; null when there is none. */
let running = null;

function headers() {
  const all = {"Content-Type": "application/json"};
  const key = element("key").value.trim();
  if (key) {
    all.Authorization = "Bearer " + key;
  }
  return all;
}

function say(text) {
  element("state").textContent = text;
}

/** Adds a message to the page; what it holds is put in by the caller. */
function card(kind) {
  element("welcome")?.remove();
  const article = document.createElement("article");
  article.className = kind;
  element("messages").append(article);
  return article;
}

/** Shows Markdown. What the model wrote becomes no script, form or foreign picture. */
function show(place, markdown) {
  place.innerHTML = DOMPurify.sanitize(marked.parse(markdown), {
    FORBID_TAGS: ["style", "form", "input", "button"],
    FORBID_ATTR: ["style"],
  });
  for (const link of place.querySelectorAll("a[href]")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
}

/** Whether the end of the conversation is in view, so that the view follows it. */
function isAtEnd() {
  const list = element("messages");
  return list.scrollHeight - list.scrollTop - list.clientHeight < 60;
}

function toEnd() {
  const list = element("messages");
  list.scrollTop = list.scrollHeight;
}

function request() {
  const body = {
    model: element("model").value,
    messages: [...conversation],
    stream: true,
    stream_options: {include_usage: true},
  };
  const system = element("system").value.trim();
  if (system) {
    body.messages.unshift({role: "system", content: system});
  }
  for (const name of NUMBERS) {
    if (element(name).value !== "") {
      body[name] = Number(element(name).value);
    }
  }
  if (element("thinking").value) {
    body.chat_template_kwargs = {enable_thinking: element("thinking").value === "true"};
  }
  return body;
}

/** The data of server-sent events, as they come. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) {
      return;
    }
    rest += value;
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const event = rest.slice(0, end);
      rest = rest.slice(end + 2);
      if (event.startsWith("data: ")) {
        yield event.slice(6);
      }
    }
  }
}

async function failure(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return response.status + " " + response.statusText;
  }
}

/** One answer on the page while it comes. */
class Answer {
  constructor() {
    this.article = card("assistant");
    this.article.setAttribute("aria-busy", "true");
    this.text = "";
    this.thought = "";
    this.tokens = 0;
    this.waits = false;
    this.body = document.createElement("div");
    this.body.className = "text";
    this.article.append(this.body);
  }

  take(chunk) {
    const delta = chunk.choices?.[0]?.delta ?? {};
    if (delta.reasoning_content) {
      this.thought += delta.reasoning_content;
    }
    if (delta.content) {
      this.text += delta.content;
    }
    if (delta.content || delta.reasoning_content) {
      this.first ??= performance.now();
      this.last = performance.now();
      this.draw();
    }
    if (chunk.usage) {
      this.tokens = chunk.usage.completion_tokens;
    }
  }

  /** Draws once a frame, however many tokens come. */
  draw() {
    if (!this.waits) {
      this.waits = true;
      requestAnimationFrame(() => {
        this.waits = false;
        this.drawNow();
      });
    }
  }

  drawNow() {
    const follow = isAtEnd();
    if (this.thought) {
      if (!this.details) {
        this.details = document.createElement("details");
        const summary = document.createElement("summary");
        summary.textContent = "Thoughts";
        const thought = document.createElement("div");
        thought.className = "thought";
        this.details.append(summary, thought);
        this.article.prepend(this.details);
      }
      this.details.lastChild.textContent = this.thought.trim();
    }
    show(this.body, this.text);
    if (follow) {
      toEnd();
    }
  }

  end(begin) {
    this.drawNow();
    this.article.removeAttribute("aria-busy");
    const seconds = (this.last - this.first) / 1000;
    if (this.tokens > 1 && seconds > 0) {
      const figures = document.createElement("p");
      figures.className = "figures";
      figures.textContent =
        `${this.tokens} tokens, ${((this.tokens - 1) / seconds).toFixed(1)} tokens/s, ` +
        `first after ${((this.first - begin) / 1000).toFixed(2)} s`;
      this.article.append(figures);
      toEnd();
    }
  }
}

async function ask(text) {
  const mine = conversation;
  mine.push({role: "user", content: text});
  card("user").textContent = text;
  toEnd();
  const begin = performance.now();
  const answer = new Answer();
  running = new AbortController();
  element("send").hidden = true;
  element("stop").hidden = false;
  say("Answering…");
  try {
    const response = await fetch("v1/chat/completions", {
      method: "POST",
      headers: headers(),
      body: JSON.stringify(request()),
      signal: running.signal,
    });
    if (!response.ok) {
      throw new Error(await failure(response));
    }
    for await (const data of events(response)) {
      if (data === "[DONE]") {
        break;
      }
      const chunk = JSON.parse(data);
      if (chunk.error) {
        throw new Error(chunk.error.message);
      }
      answer.take(chunk);
    }
    say("");
  } catch (error) {
    if (error.name === "AbortError") {
      say("Stopped.");
    } else {
      card("error").textContent = error.message;
      say("");
    }
  } finally {
    answer.end(begin);
    if (answer.text) {
      mine.push({role: "assistant", content: answer.text});
    } else {
      answer.article.remove();
      // A question without an answer is asked again, and stands in the field for that.
      mine.pop();
      if (mine === conversation) {
        element("text").value ||= text;
      }
    }
    running = null;
    element("send").hidden = false;
    element("stop").hidden = true;
    element("text").focus();
  }
}

async function loadModels() {
  const response = await fetch("v1/models", {headers: headers()}).catch(() => null);
  if (!response?.ok) {
    say(response ? await failure(response) : "The server cannot be reached.");
    return;
  }
  const chosen = element("model").value || localStorage.getItem("candle4j.model");
  const names = (await response.json()).data.map((model) => model.id);
  element("model").replaceChildren(...names.map((name) => new Option(name, name)));
  if (names.includes(chosen)) {
    element("model").value = chosen;
  }
  say("");
}

element("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = element("text").value.trim();
  if (text && !running) {
    element("text").value = "";
    ask(text);
  }
});

element("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    element("ask").requestSubmit();
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    running?.abort();
  }
});

element("stop").addEventListener("click", () => running?.abort());

element("new").addEventListener("click", () => {
  running?.abort();
  conversation = [];
  element("messages").replaceChildren();
  say("A new conversation.");
  element("text").focus();
});

element("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark =
    (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("candle4j.theme", root.dataset.theme);
});

element("open").addEventListener("click", () => {
  const hidden = (element("settings").hidden = !element("settings").hidden);
  element("open").setAttribute("aria-expanded", String(!hidden));
  if (!hidden) {
    element("system").focus();
  }
});

element("settings").addEventListener("submit", (event) => event.preventDefault());
element("model").addEventListener("change", () =>
  localStorage.setItem("candle4j.model", element("model").value));
element("key").addEventListener("change", loadModels);
for (const name of SAVED) {
  element(name).value = localStorage.getItem("candle4j." + name) ?? "";
  element(name).addEventListener("change", () =>
    localStorage.setItem("candle4j." + name, element(name).value));
}
const theme = localStorage.getItem("candle4j.theme");
if (theme) {
  document.documentElement.dataset.theme = theme;
}
loadModels();
