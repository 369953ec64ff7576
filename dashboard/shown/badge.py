"""What evidence says of a class's graph as a whole, in a sentence that needs no knowledge, and what it means."""

import math

import streamlit as st

from dashboard.data import StoreData
from dashboard.evidence import Evidence, Share, evidence_of, is_renewed, why_untested
from dashboard.selection import STORED, Selection
from dashboard.shown import measures
from dashboard.shown.proof import channels_of
from summit_dask.facts import wording

#: A smaller share is told as none.
LEAST = 0.005

MARGIN = (
    "The class's margin is its logit minus the mean of all logits: how far it stands out among the classes. 100 % is "
    "what is lost without any channel of the layers shown."
)
HALVES = (
    "Half of the class's images make a graph, and the other half tests it; then the halves change places. So no graph "
    "is tested on the images that made it, and those of the halves may differ a little from the one shown."
)
INTERVAL = (
    "Intervals hold the middle 90 % of 200 random samples of the images: how much hangs on which images these are."
)
REPLACED = {
    "mean": "A channel is taken away by putting its mean over images and positions in the place of its map.",
    "zero": "A channel is taken away by putting zero in the place of its map.",
}


def show(data: StoreData, wanted: Selection, class_index: int) -> None:
    """The sentence above a class's stored graph; nothing where it has no evidence, or is selected again."""
    if wanted.how != STORED:
        return
    pair = measures.shown(data, wanted)
    evidence = evidence_of(data, pair)
    if evidence is not None and evidence.share("necessity", class_index, "graph").is_known:
        st.caption(sentence(evidence, class_index), help=meaning(evidence, class_index))
    elif is_renewed(data, pair):
        st.caption(why_untested(data, pair))


def sentence(evidence: Evidence, class_index: int) -> str:
    """What the class loses without its graph's channels, and without as many random ones."""
    own, random = (evidence.share("necessity", class_index, choice).value for choice in ("graph", "random"))
    n = len(channels_of(evidence.data, class_index, evidence.pair))
    these = f"these {n} channels" if n != 1 else "this channel"
    others = f"{n} random ones" if n != 1 else "a random one"
    return f"Without {these} the class's margin {change(own)}; without {others} {by(own, random)}."


def change(lost: float) -> str:
    """What happens to the margin, of which a share is lost."""
    if not math.isfinite(lost):
        return "changes by an unknown share"
    if abs(lost) < LEAST:
        return "stays as it is"
    return f"{'falls' if lost > 0 else 'grows'} by {percent(abs(lost))}"


def by(first: float, second: float) -> str:
    """The second of two changes, as short as the first allows."""
    if not math.isfinite(second):
        return "by an unknown share"
    same = min(abs(first), abs(second)) >= LEAST and (first > 0) == (second > 0)
    return f"by {percent(abs(second))}" if same else f"it {change(second)}"


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.0f} %" if math.isfinite(share) else "–"


def between(share: Share) -> str:
    """An interval."""
    return f"{100 * share.low:.0f} to {percent(share.high)}"


def meaning(evidence: Evidence, class_index: int) -> str:
    """What the sentence's words and numbers mean, as paragraphs."""
    own = evidence.share("necessity", class_index, "graph")
    tested = f"{wording.images(evidence.number('n_tested', class_index))} tested it. {INTERVAL} Here: {between(own)}."
    parts = [MARGIN, HALVES, REPLACED[evidence.settings.ablation], tested, chance(evidence, class_index)]
    return "\n\n".join(parts)


def chance(evidence: Evidence, class_index: int) -> str:
    """The p-value, and what it says."""
    p = evidence.number("p_value", class_index)
    if not math.isfinite(p):
        return "There is no p-value: the images that random channels were taken from have no margin to lose."
    n = evidence.read("random_necessity").shape[1]
    as_good = round(p * (n + 1)) - 1
    told = {0: "none", n: "each"}.get(as_good, f"{as_good}")
    return (
        f"p-value {p:.2g}: {told} of {n} draws of random channels, as many in each layer, "
        f"{'was' if as_good < 2 else 'were'} as necessary as the graph's; small means that it is hardly chance."
    )
