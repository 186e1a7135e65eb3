"use strict";

// What the server cannot do: files, the clipboard, and the place of a pointer. No dependency, and
// no request to anywhere but the page's own server.
(() => {
  const page = window.guardalign;
  // A line of its own: those of the server are drawn by the server alone.
  const line = document.createElement("p");
  line.className = "ga-status";
  line.setAttribute("role", "status");
  document.addEventListener("DOMContentLoaded", () => document.body.append(line));
  let fading = 0;
  const status = (words, { bad = false, seconds = 0 } = {}) => {
    clearTimeout(fading);
    line.textContent = words;
    line.classList.toggle("ga-bad", bad);
    if (seconds) fading = setTimeout(() => status(""), 1000 * seconds);
  };

  const send = async (file) => {
    if (!file) return;
    if (file.type && !file.type.startsWith("image/")) {
      return status(`${file.name || "This file"} is no picture.`, { bad: true, seconds: 8 });
    }
    status("Sending the picture to the guard…");
    const url = `${location.pathname.replace(/\/$/, "")}/picture/${page.token}`;
    try {
      const answer = await fetch(url, { method: "POST", body: file });
      if (answer.ok || answer.status === 400) return status(""); // the server says the rest
      const body = await answer.json().catch(() => null);
      const words = body?.error?.message ?? "The page has expired. Load it again.";
      status(words, { bad: true, seconds: 20 });
    } catch {
      status("The server cannot be reached. Is it still running?", { bad: true, seconds: 20 });
    }
  };

  document.addEventListener("change", (event) => {
    const field = event.target;
    if (field.id === "ga-file") {
      send(field.files[0]);
      field.value = ""; // so that the same file can be chosen again
    }
    const shows = field.dataset?.shows;
    if (!shows) return;
    const frame = document.getElementById("ga-frame");
    if (field.type === "radio") frame.classList.toggle("ga-model-view", shows === "model");
    else frame.classList.toggle(`ga-no-${shows}`, !field.checked);
  });

  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) =>
      each.type.startsWith("image/"),
    );
    if (!file) return; // words go where they are pasted
    event.preventDefault();
    send(file);
  });

  let depth = 0;
  const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const dropping = (on) => document.body.classList.toggle("ga-dropping", on);
  document.addEventListener("dragenter", (event) => {
    if (holdsFiles(event)) dropping(++depth > 0);
  });
  document.addEventListener("dragleave", (event) => {
    if (holdsFiles(event)) dropping(--depth > 0);
  });
  document.addEventListener("dragover", (event) => {
    if (holdsFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    dropping(((depth = 0), false));
    send(event.dataTransfer.files[0]);
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copies]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // Without https a page may not write to the clipboard, but it may copy what is selected.
      getSelection().selectAllChildren(source);
      document.execCommand("copy");
    }
    status("The verdict is in the clipboard.", { seconds: 4 });
  });

  document.addEventListener("keydown", (event) => {
    const inField = event.target.id === "ga-text";
    if (inField && event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      document.getElementById("ga-ask").click();
    }
  });

  let point = [0.5, 0.5];
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  // Where a pointer or the arrow keys point, from 0 to 1; null for every other key.
  page.probe = (event) => {
    const frame = document.getElementById("ga-frame").getBoundingClientRect();
    if (event.type === "click") {
      point = [
        (event.clientX - frame.left) / frame.width,
        (event.clientY - frame.top) / frame.height,
      ];
      return point;
    }
    const move = MOVES[event.key];
    if (!move) return null;
    event.preventDefault();
    point = point.map((at, axis) => Math.min(Math.max(at + 0.05 * move[axis], 0), 1));
    return point;
  };

  // Put the sliders where the server has them.
  page.place = (positions) => {
    for (const [name, value] of Object.entries(positions)) {
      const slider = document.getElementById(`ga-${name}`);
      if (slider) slider.value = value;
    }
  };

  page.focus = (id) => document.getElementById(id)?.focus();
})();
