// What Streamlit hands to a component.
export interface Component<Data> {
  data: Data;
  parentElement: HTMLElement | ShadowRoot;
  setTriggerValue(name: string, value: unknown): void;
}

/**
 * The function that Streamlit calls when the data of the component changed. `make` builds the view once;
 * the view itself decides what has to be drawn again.
 */
export function component<Data, View extends { update(component: Component<Data>): void; remove(): void }>(
  make: (root: HTMLElement) => View,
): (component: Component<Data>) => () => void {
  const views = new WeakMap<object, View>();
  return (given) => {
    let view = views.get(given.parentElement);
    if (!view) {
      const root = document.createElement("div");
      root.className = "summit";
      given.parentElement.append(root);
      view = make(root);
      views.set(given.parentElement, view);
    }
    const kept = view;
    kept.update(given);
    return () => {
      kept.remove();
      views.delete(given.parentElement);
    };
  };
}
