// The address bar always holds the state, so that a bookmark or a copied link opens it again.
const follow = () => history.replaceState(null, "", props.value ? `?${props.value}` : location.pathname);
watch("value", follow);
element.addEventListener("click", async (event) => {
  const button = event.target.closest(".copy");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copy it from the address bar";
  }
  setTimeout(() => (button.textContent = "Copy link"), 2000);
});
