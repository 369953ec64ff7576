// Streamlit changes a page in two steps, its parameters first, and each would take a press of Back:
//
//   /?layer=stem  ->  /?layer=pool  ->  /channel?layer=pool      without a click or a key in between: one step
const holder = globalThis as { summitDaskHistory?: boolean };

export function changePagesInOneStep(): void {
  if (holder.summitDaskHistory) return;
  holder.summitDaskHistory = true;
  const push = history.pushState.bind(history);
  let pushed: string | null = null; // the parameters that were changed since the visitor did something
  const forget = () => (pushed = null);
  for (const kind of ["pointerdown", "click", "keydown", "popstate"]) addEventListener(kind, forget, { capture: true });
  history.pushState = (state, unused, url) => {
    const to = new URL(url ?? location.href, location.href);
    const moves = to.pathname !== location.pathname;
    if (moves && pushed === to.search) history.replaceState(state, unused, url);
    else push(state, unused, url);
    pushed = moves ? null : to.search;
  };
}
