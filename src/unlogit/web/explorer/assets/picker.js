// Images go to this server alone, as they are; it answers with an address that stands for them.
const refuse = (message) => {
  const place = element.querySelector(".refused");
  place.textContent = message;
  place.hidden = !message;
};
// The titles hold a data set's class names: they are set as attributes, never parsed as HTML.
const tile = (address, title) => {
  const button = document.createElement("button");
  button.type = "button";
  button.title = title;
  button.dataset.address = address;
  const image = document.createElement("img");
  image.src = `thumbnail/${address}`;
  image.alt = title;
  image.loading = "lazy";
  button.append(image);
  return button;
};
const follow = () => {
  const tiles = element.querySelector(".tiles");
  const chosen = String(props.value || "");
  tiles.querySelector("[data-address^='dropped/']")?.remove();
  if (chosen.startsWith("dropped/")) tiles.prepend(tile(chosen, "your image"));
  for (const one of tiles.children) one.setAttribute("aria-pressed", one.dataset.address === chosen);
};
const choose = (address) => {
  props.value = address;
  follow();
  trigger("change");
};
const send = async (file) => {
  if (!file) return;
  refuse("");
  element.classList.add("sending");
  try {
    const answer = await fetch("images", { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } });
    const reply = await answer.json().catch(() => ({}));
    if (answer.ok) choose(reply.address);
    else refuse(typeof reply.detail === "string" ? reply.detail : `That did not work (${answer.status}).`);
  } catch {
    refuse("The server does not answer.");
  } finally {
    element.classList.remove("sending");
  }
};
element.addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-address]");
  if (!chosen) return;
  const again = props.label_text && chosen.getAttribute("aria-pressed") === "true";
  choose(again ? "" : chosen.dataset.address);
});
element.addEventListener("change", (event) => {
  if (event.target.type === "file") send(event.target.files[0]);
});
element.addEventListener("dragover", (event) => {
  event.preventDefault();
  element.classList.add("over");
});
element.addEventListener("dragleave", () => element.classList.remove("over"));
element.addEventListener("drop", (event) => {
  event.preventDefault();
  element.classList.remove("over");
  send(event.dataTransfer.files[0]);
});
if (props.label_text) {
  const label = element.querySelector(".label");
  label.textContent = props.label_text;
  label.hidden = false;
  element.querySelector(".picker").classList.add("strip");
}
element.querySelector(".tiles").append(...props.offered.map(([address, title]) => tile(address, title)));
watch("value", follow);
follow();
