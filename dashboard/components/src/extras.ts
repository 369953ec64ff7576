// Whatever belongs to a graph but need not be there when it is drawn comes by a component of its own, which
// shows nothing: Streamlit sends it after the graph, and the graph's own data stay small.
import { component, type Component } from "./component";
import { publish, type Extras } from "./shelf";

export default component<Extras, { update(component: Component<Extras>): void; remove(): void }>(() => ({
  update: ({ data }) => publish(data),
  remove: () => {},
}));
