// Pictures go to this server alone, as they are; it answers with an address that stands for them.
const refuse = (message) => {
  const place = element.querySelector(".refused");
  place.textContent = message;
  place.hidden = !message;
};
const choose = (address) => {
  props.value = address;
  trigger("change");
};
const send = async (file) => {
  if (!file) return;
  refuse("");
  element.classList.add("sending");
  try {
    const answer = await fetch("pictures", { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } });
    const told = await answer.json().catch(() => ({}));
    if (answer.ok) choose(told.address);
    else refuse(typeof told.detail === "string" ? told.detail : `That did not work (${answer.status}).`);
  } catch {
    refuse("The server does not answer.");
  } finally {
    element.classList.remove("sending");
  }
};
element.addEventListener("click", (event) => {
  const tile = event.target.closest("[data-address]");
  if (tile) choose(tile.dataset.address);
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
