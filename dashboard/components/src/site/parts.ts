// The dashboard's components, each ready to be put on a page.
import barsCss from "../../bundle/bars.css";
import classesCss from "../../bundle/classes.css";
import factsCss from "../../bundle/facts.css";
import galleryCss from "../../bundle/gallery.css";
import graphCss from "../../bundle/graph.css";
import heatmapCss from "../../bundle/heatmap.css";
import bars from "../bars";
import classes from "../classes";
import facts from "../facts";
import gallery from "../gallery";
import graph from "../graph";
import heatmap from "../heatmap";
import type { Sort } from "../classtable";
import type { Channel, View } from "../model";
import type { Fires } from "../outline";
import { Slot } from "./slot";

export interface Bar {
  name: string;
  value: number;
  label: string;
}

export interface Item {
  picture: string | null;
  title: string;
  text: string;
  alt: string;
  open: boolean;
  fires?: Fires | null;
}

export const factsSlot = () => new Slot(facts, factsCss);

export const gallerySlot = (open: (k: number) => void = () => {}) => new Slot(gallery, galleryCss, { open });

export const heatmapSlot = (open: (cell: { row: number; column: number }) => void) =>
  new Slot(heatmap, heatmapCss, { open });

export const barsSlot = (open: (which: { chart: number; bar: number }) => void) => new Slot(bars, barsCss, { open });

export const graphSlot = (events: {
  pin(node: Channel | null): void;
  view(view: View): void;
  open(node: Channel): void;
}) => new Slot(graph, graphCss, events);

export const classesSlot = (events: {
  select(c: number): void;
  versus(c: number): void;
  layer(name: string): void;
  list(given: { sort: Sort; search: string }): void;
}) => new Slot(classes, classesCss, events);
