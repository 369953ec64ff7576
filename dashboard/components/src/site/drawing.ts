// Graphs as the graph component takes them, and what belongs to them: pictures, sources, files. One class's graph:
//
//   file of the class ── united ── rows, nodes, edges ── component
//
// Two classes' (pair.ts) go the same way.
import type { GraphData, GraphNode, Channel } from "../model";
import { publish, type Extras } from "../shelf";
import { isSingle } from "./chunks";
import { details, sourceRow, type Data, type GraphPart, type PictureData, type Place } from "./data";
import type { Slot } from "./slot";
import { csv } from "./table";
import { rows, united, type Union } from "./union";
import type { Wanted } from "./view";

export interface Drawn {
  data: GraphData; // without pictures: a class's graph shows some sixty, and most are a file each
  extras: Extras;
  pictures: Promise<Extras>;
}

/** Draw a graph at once, and its pictures when they are there. */
export function showDrawn({ data, extras, pictures }: Drawn, graph: Slot<GraphData>): void {
  publish(extras);
  graph.show(data);
  void pictures.then(publish);
}

/** Everything that a class's graph shows; `pins` says whether a click pins a node or opens its page. */
export async function drawn(data: Data, wanted: Wanted, part: GraphPart, pins: boolean): Promise<Drawn> {
  const { site } = data;
  const union = united([part], pins ? pinnedPlace(data, wanted) : []);
  const used = await data.used(wanted.cls, wanted.pair);
  const name = site.names[wanted.cls];
  const id = `${wanted.cls} ${wanted.pair} ${pins} ${unheld(union)}`;
  const nodes = union.nodes.map(({ layer, channel, held, count }, n) =>
    graphNode(data, union, n, held[0] ? count[0] : (used.of(layer)?.[channel] ?? 0), name),
  );
  const graph: GraphData = {
    ...common(data, wanted, union, pins),
    id,
    title: `Attribution graph of ${name}`,
    nodes,
    edges: union.edges.map(({ source, target, influence, identity }) => [source, target, influence[0], identity]),
    images: data.images[wanted.cls],
    marks: part.marks,
    note: part.nodes.length ? "" : "This class's graph is empty: none of its counts can be ranked.",
  };
  const files = [
    { name: "nodes.csv", type: "text/csv", text: nodeTable(graph, part) },
    { name: "edges.csv", type: "text/csv", text: edgeTable(graph, part) },
  ];
  const pinned = pins ? pinnedOf(data, wanted, union, (n) => sourcesOf(data, union, part, 0, n)) : undefined;
  return { data: graph, extras: { id, files, ...(pinned && { pinned }) }, pictures: picturesOf(data, union, id) };
}

/** What every drawing has. */
export function common(data: Data, wanted: Wanted, union: Union, pins: boolean) {
  const pair = data.site.pairs.find((known) => known.name === wanted.pair)!;
  const { largest, edges: measure } = pair;
  return { rows: rows(union, data.site), largest, measure, view: wanted.view, pins, pinned: wanted.pinned, opens: !isSingle() };
}

export function graphNode(data: Data, { nodes }: Union, n: number, count: number, name: string): GraphNode {
  const { layer, channel, score, held } = nodes[n];
  const { name: layerName, of_class } = data.site.layers[layer];
  return {
    layer: layerName,
    channel,
    name: of_class ? name : "",
    called: data.called(layer, channel)[0],
    count,
    score,
    picture: null,
    absent: !held.includes(true),
  };
}

/** The pinned channel, which has a place even if no graph holds it. */
export function pinnedPlace({ site }: Data, { pinned }: Wanted): Place[] {
  const layer = pinned ? site.layers.findIndex((known) => known.name === pinned.layer) : -1;
  return layer < 0 ? [] : [[layer, pinned!.channel]];
}

/** The pinned channel where no graph holds it: the drawing has a place for it for that reason alone. */
export function unheld({ nodes }: Union): string {
  return [...nodes.keys()].filter((n) => !nodes[n].held.includes(true)).join(",");
}

/** The nodes' pictures, and what their cards show. */
export async function picturesOf(data: Data, { nodes }: Union, id: string): Promise<Extras> {
  const found = await data.manyPictures(nodes.map(({ layer, channel }) => [layer, channel]));
  const card = (seen: PictureData | null, n: number) => {
    const { layer, channel } = nodes[n];
    return { layer: data.site.layers[layer].name, channel, ...details(seen) };
  };
  return { id, pictures: found.map((seen) => seen?.channel ?? null), details: found.map(card) };
}

/** Of the pinned channel: its card, and what `found` adds. */
export function pinnedOf<Found>(data: Data, { pinned }: Wanted, union: Union, found: (n: number) => Found) {
  const n = union.nodes.findIndex(({ layer, channel }) => pinned && data.site.layers[layer].name === pinned.layer && channel === pinned.channel);
  return n < 0 ? undefined : { ...pinned!, ...details(null), ...found(n) };
}

const FEW = "This graph doesn't hold the channel; a site has the sources of the channels in graphs.";

/** Sources of a node for one of the united graphs, and what is to be said of them. */
export function sourcesOf({ site }: Data, { nodes }: Union, part: GraphPart, g: number, n: number) {
  const at = nodes[n].at[g];
  const of = (sources: GraphPart["sources"]) => (at < 0 ? [] : (sources[at] ?? [])).map((source) => sourceRow(site, source));
  const lowest = nodes[n].layer === Math.min(...nodes.map(({ layer }) => layer));
  const note = lowest ? "This is the lowest layer of the graph." : at < 0 ? FEW : part.note;
  return { sources: of(part.sources), lowering: of(part.lowering), note };
}

export function ends({ nodes, edges }: Pick<GraphData, "nodes" | "edges">): [Channel, Channel][] {
  return edges.map(([source, target]) => [nodes[source], nodes[target]]);
}

function nodeTable({ nodes, marks }: GraphData, part: GraphPart): string {
  const rows = part.nodes.map(([, , count, score], n) => [
    nodes[n].layer,
    nodes[n].channel,
    count,
    score,
    ...(marks ? [marks.node_stability[n]] : []),
  ]);
  return csv(["layer", "channel", "count", "score", ...(marks ? ["stability"] : [])], rows);
}

function edgeTable(graph: GraphData, { marks }: GraphPart): string {
  const rows = ends(graph).map(([source, target], e) => {
    const [, , influence, identity] = graph.edges[e];
    const said = marks ? [marks.edge_stability[e], marks.edge_effect[e]] : [];
    return [source.layer, source.channel, target.layer, target.channel, influence, identity > 0, ...said];
  });
  const columns = ["source_layer", "source_channel", "target_layer", "target_channel", "influence", "identity"];
  return csv([...columns, ...(marks ? ["stability", "effect"] : [])], rows);
}
