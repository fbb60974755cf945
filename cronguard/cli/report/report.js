"use strict";
const finder = document.getElementById("finder");
if (finder) {
  const field = document.getElementById("find");
  const jobs = [...document.querySelectorAll("[data-job]")];
  const folds = [...document.querySelectorAll(".overview > .fold")];
  const unfolded = new Set(folds.filter((fold) => fold.open));
  const texts = new Map(jobs.map((job) => [job, textOf(job)]));
  finder.hidden = false;
  field.addEventListener("input", find);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target !== field && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      field.focus();
    } else if (event.key === "Escape" && event.target === field) {
      field.value = "";
      find();
    }
  });
  if (field.value) find();

  function textOf(job) {
    const parts = job.querySelectorAll("b, a, h3, .badge, .why, .said");
    return [...parts].map((part) => part.textContent).join(" ").toLowerCase();
  }

  function find() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let number = 0;
    for (const job of jobs) {
      job.hidden = !words.every((word) => texts.get(job).includes(word));
      number += !job.hidden && job.tagName === "LI";
    }
    for (const fold of folds) {
      fold.open = words.length ? Boolean(fold.querySelector("[data-job]:not([hidden])"))
        : unfolded.has(fold);
    }
    const all = jobs.filter((job) => job.tagName === "LI").length;
    document.getElementById("found").textContent = words.length ? `${number} of ${all}` : "";
  }
}

const made = Date.parse(document.getElementById("made").dateTime);
function age() {
  const minutes = Math.floor((Date.now() - made) / 60000);
  if (minutes < 60) return;
  const hours = Math.floor(minutes / 60);
  const text = hours < 48 ? `${hours} hour${hours > 1 ? "s" : ""}` : `${Math.floor(hours / 24)} days`;
  const notice = document.getElementById("stale");
  notice.textContent = `This page is ${text} old: what it shows may not hold any more.`;
  notice.hidden = false;
}
age();
setInterval(age, 60000);
