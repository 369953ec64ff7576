"""What the charts of evidence show, in sentences: of all classes alike, or of one."""

import pandas as pd

from dashboard.evidence import Evidence
from dashboard.shown import badge
from summit_dask.facts import wording

UNTESTED = "This class was not tested: it has fewer than two images, or nothing that it could lose."

SUFFICIENCY = (
    "Sufficiency: all channels of one layer are taken away but 5, 10, 20 or 50 %, those that the class uses most "
    "or random ones. 100 %: they bring back all that is lost without the layer; 0 %: nothing of it. Bands are "
    "intervals."
)

TRUTH = (
    "The truth of a source is what a channel's maximum loses when the source's map is replaced. Capture: of what "
    "the truly best sources do, the share that the kept ones do; 100 %: none better could have been kept. "
    "Influence is the paper's measure, contribution what a source adds where the channel fires most."
)

ALL_CLASSES = (
    "A point a class, this one in orange; a click chooses another. To the right: more is lost without its graph's "
    "channels. Specificity, upwards: how much more is lost than without those of the nearest class's graph; near 0 "
    "the graph holds channels that any class needs."
)

WEAKEST = (
    "Trust these graphs least. Necessity: what is lost without the graph's channels. P-value: how often random "
    "ones were as necessary. Stability: how alike the graphs of resampled sets of the class's images are to the "
    "one stored (mean Jaccard index of the nodes, 100 %: the same). A chosen row shows its class."
)


def necessity(evidence: Evidence, index: int) -> str:
    """Of a class's graph and of other choices."""
    return (
        "Necessity: taken away from all layers at once, as many channels in each layer as the graph has; of other "
        "classes' graphs all channels. The graph says something where more is lost without it than without the grey "
        "ones; where the most active channels matter as much, it says little that they don't. "
        f"{badge.INTERVAL} {badge.chance(evidence, index)}"
    )


def elsewhere(evidence: Evidence, index: int) -> str:
    """What other classes lose; empty where that isn't known."""
    n = evidence.number("n_elsewhere", index)
    own, random = (evidence.share("loss_elsewhere", index, choice) for choice in ("graph", "random"))
    if not own.is_known:
        return ""
    return (
        f"Other classes: on {n:,} of their images, the margin of the image's own class {badge.change(own.value)} "
        f"without the channels of this graph ({badge.between(own)}), and without as many random ones "
        f"{badge.by(own.value, random.value)}. A graph of what this class alone needs costs others little."
    )


def by_layer(evidence: Evidence, index: int) -> str:
    """Of single layers."""
    n = evidence.number("n_tested_by_layer", index)
    return (
        "The graph's channels taken away from one layer alone, or as many random ones. 100 % is what is lost without "
        f"the whole layer; {wording.images(n)} tested single layers."
    )


def truth(table: pd.DataFrame) -> str:
    """Of the table of true sources: which is which, and how well measures rank."""
    means = table.groupby("measure")["rank_correlation"].mean()
    said = "; ".join(f"{measure} {mean:.2f}" for measure, mean in means.items())
    return (
        "Left, the sources kept of single images; right, those kept on most images of the class. Mean rank correlation "
        f"of the measure with the truth over all sources (1: the same order): {said}."
    )
