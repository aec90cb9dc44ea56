"use strict";
(() => {
  const say = (button, word) => {
    button.textContent = word;
    button.dataset.done = word;
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  };
  const selected = (pre) => {
    const range = document.createRange();
    range.selectNodeContents(pre);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const pre = button.closest(".copied").querySelector("pre");
      try {
        await navigator.clipboard.writeText(pre.textContent);
        say(button, "Copied");
      } catch {
        selected(pre);
        say(button, document.execCommand("copy") ? "Copied" : "Selected");
      }
    });
  }
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details")) one.open = true;
  });
})();
