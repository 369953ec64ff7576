// A class's graph as the graph component takes it, and what belongs to it: pictures, sources, files.
import type { GraphData, Channel } from "../model";
import type { Extras } from "../shelf";
import { isSingle } from "./chunks";
import { details, sourceRow, type Data, type GraphPart, type PictureData } from "./data";
import { csv } from "./table";
import type { Wanted } from "./view";

export interface Drawn {
  data: GraphData;
  extras: Extras;
}

/** Everything that a graph shows; `pins` says whether a click pins a node or opens its page. */
export async function drawn(data: Data, wanted: Wanted, part: GraphPart, pins: boolean): Promise<Drawn> {
  const found = await data.manyPictures(part.nodes.map(([layer, channel]) => [layer, channel]));
  const id = `${wanted.cls} ${wanted.pair} ${pins}`;
  const graph = graphData(data, wanted, part, found);
  return { data: { ...graph, id, pins, opens: !isSingle() }, extras: extrasOf(data, wanted, part, found, id) };
}

function graphData(data: Data, wanted: Wanted, part: GraphPart, found: (PictureData | null)[]): Omit<GraphData, "id" | "pins" | "opens"> {
  const { site } = data;
  const visible = site.layers.filter((layer) => !layer.hidden).reverse();
  const pair = site.pairs.find((known) => known.name === wanted.pair)!;
  const name = site.names[wanted.cls];
  return {
    title: `Attribution graph of ${name}`,
    rows: part.rows.map((nodes, r) => ({ layer: visible[r].name, nodes })),
    nodes: part.nodes.map(([layer, channel, count, score, called], n) => ({
      layer: site.layers[layer].name,
      channel,
      name: site.layers[layer].of_class ? name : "",
      called,
      count,
      score,
      picture: found[n]?.channel ?? null,
    })),
    edges: part.edges,
    images: data.images[wanted.cls],
    largest: pair.largest,
    measure: pair.edges,
    marks: part.marks,
    view: wanted.view,
    pinned: wanted.pinned,
    note: part.nodes.length ? "" : "This class's graph is empty: none of its counts can be ranked.",
  };
}

function extrasOf(data: Data, wanted: Wanted, part: GraphPart, found: (PictureData | null)[], id: string): Extras {
  const channels = part.nodes.map(([layer, channel]): Channel => ({ layer: data.site.layers[layer].name, channel }));
  const cards = channels.map((channel, n) => ({ ...channel, ...details(found[n]) }));
  const files = [
    { name: "nodes.csv", type: "text/csv", text: nodeTable(channels, part) },
    { name: "edges.csv", type: "text/csv", text: edgeTable(channels, part) },
  ];
  const n = wanted.pinned ? channels.findIndex((c) => c.layer === wanted.pinned!.layer && c.channel === wanted.pinned!.channel) : -1;
  return { id, details: cards, files, ...(n >= 0 && { pinned: pinnedOf(data, part, n, cards[n]) }) };
}

function pinnedOf<Card>(data: Data, part: GraphPart, n: number, card: Card) {
  const rows = (sources: GraphPart["sources"]) => (sources[n] ?? []).map((source) => sourceRow(data.site, source));
  const lowest = part.nodes[n][0] === part.nodes.reduce((least, [layer]) => Math.min(least, layer), Infinity);
  const note = part.sources[n].length || !lowest ? part.note : "This is the lowest layer of the graph.";
  return { ...card, sources: rows(part.sources), lowering: rows(part.lowering), note };
}

function nodeTable(channels: Channel[], part: GraphPart): string {
  const marks = part.marks;
  const rows = part.nodes.map(([, , count, score], n) => [
    channels[n].layer,
    channels[n].channel,
    count,
    score,
    ...(marks ? [marks.node_stability[n]] : []),
  ]);
  return csv(["layer", "channel", "count", "score", ...(marks ? ["stability"] : [])], rows);
}

function edgeTable(channels: Channel[], part: GraphPart): string {
  const marks = part.marks;
  const rows = part.edges.map(([source, target, influence, identity], e) => [
    channels[source].layer,
    channels[source].channel,
    channels[target].layer,
    channels[target].channel,
    influence,
    identity > 0,
    ...(marks ? [marks.edge_stability[e], marks.edge_effect[e]] : []),
  ]);
  const columns = ["source_layer", "source_channel", "target_layer", "target_channel", "influence", "identity"];
  return csv([...columns, ...(marks ? ["stability", "effect"] : [])], rows);
}
