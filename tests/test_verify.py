"""What `verify` finds: one wrong number in any group of a store, by the check that answers for it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

from summit_dask.facts.config import RunConfig
from summit_dask.network.completeness import Completeness
from summit_dask.questions import recheck
from summit_dask.questions.usage import channel_usage, write_usage
from summit_dask.questions.verify import KINDS, verify_store
from summit_dask.stages.evidence import find_evidence
from summit_dask.stages.groups import count_groups
from summit_dask.store.evidence import Settings
from summit_dask.store.pictures import add_pictures
from summit_dask.store.store import Store
from tests.runs import connected, copied

Change = Callable[[Any], Any]


@pytest.fixture(scope="module")
def path(finished: RunConfig, tmp_path_factory: pytest.TempPathFactory, client: Client) -> Path:
    """A finished store, with usage, evidence, counts by groups and a picture."""
    out = copied(finished, tmp_path_factory.mktemp("verify")).out
    store = Store.open(out, writable=True)
    write_usage(store, channel_usage(store))
    with store.changing():
        find_evidence(store, Settings(images=4, samples=5), connected(client))
        count_groups(store, ["predicted"], store.header.run.config, connected(client))
        add_pictures(store, "upper", {(3, "channel"): b"\xff\xd8\xff and so on"}, settings=7)
    return out


def first(change: Change) -> Change:
    """A change of an array's first value."""

    def changed(values: Any) -> Any:
        values.flat[0] = change(values.flat[0])
        return values

    return changed


MORE = first(lambda value: value + 1)
OTHER = first(lambda _: "other")

WRONG: dict[str, dict[str, Change]] = {
    "tables": {
        "image": MORE,
        "class": first(lambda _: "bee"),
        "classes/output_index": first(lambda _: 3),
        "images/class_index": first(lambda _: 2),
    },
    "stages complete": {"partitions/fingerprint": MORE},
    "images measured again": {
        "images/status": MORE,
        "images/reason": OTHER,
        "images/file_size": MORE,
        "images/checksum": MORE,
        "images/probability": first(lambda value: value + 0.01),
        "images/true_probability": first(lambda value: value + 0.01),
        "activations/upper/value": first(lambda value: value + 0.1),
        "activations/upper/position": MORE,
        "influences/upper/hop": MORE,
        "influences/upper/source": MORE,
        "influences/upper/value": first(lambda value: value + 1),
    },
    "class statistics": {"classes/n_images": MORE, "classes/n_correct": MORE},
    "counts of classes": {"matrices/lower/activation_count": MORE, "matrices/upper.one.0.weight/influence_count": MORE},
    "graphs of classes": {
        "graphs/activation-influence/node_score": first(lambda value: value + 1e-6),
        "graphs/activation-influence/node_count": MORE,
        "graphs/activation-influence/edge_influence": MORE,
        "graphs/activation-influence/reached_p": first(lambda value: value + 0.005),
    },
    "all graphs' invariants": {
        "graphs/activation-influence/node_class": MORE,
        "graphs/activation-influence/edge_class": MORE,
        "graphs/activation-influence/node_channel": first(lambda _: 99),
    },
    "evidence for graphs": {
        f"evidence/activation-influence/{name}": change
        for name, change in {
            "necessity": MORE,
            "necessity_low": first(lambda _: np.nan),
            "necessity_high": first(lambda value: value - 9),
            "random_necessity": MORE,
            "p_value": MORE,
            "specificity": MORE,
            "layer_necessity_low": first(lambda _: 9.0),
            "sufficiency": first(lambda _: np.inf),
            "margin": first(lambda value: value - 9),
            "replacement": first(lambda _: np.nan),
            "n_tested": MORE,
            "n_tested_by_layer": first(lambda _: 99),
            "n_drawn": first(lambda _: 99),
            "necessity_beside_random": first(lambda value: value - 9),
            "rival_class": first(lambda _: 0),
            "n_elsewhere": first(lambda _: 99),
            "loss_elsewhere": first(lambda _: np.inf),
            "n_targets": first(lambda _: -1),
            "capture": first(lambda _: 1.1),
            "class_capture": first(lambda _: 1.1),
            "rank_correlation": first(lambda _: -1.1),
            "edge_effect": first(lambda _: np.inf),
            "node_stability": first(lambda value: value - 0.2),
            "edge_stability": first(lambda value: value - 0.2),
            "node_jaccard": MORE,
            "edge_jaccard": MORE,
        }.items()
    },
    "embedding": {"embedding/lower/x": first(lambda _: np.nan)},
    "examples": {
        "examples/upper/image_index": MORE,
        "examples/upper/value": MORE,
        "examples/upper/box": first(lambda _: 99),
        "examples/upper/centre": lambda values: values + 0.5,
        "examples/upper/share": lambda values: values + 0.5,
        "examples/upper/map": lambda values: 15 - values,
        "examples/upper/thumbnail_offset": MORE,
        "examples/upper/thumbnail_bytes": first(lambda _: 0),
    },
    "pictures": {
        "pictures/upper/made_with": MORE,
        "pictures/upper/picture_offset": MORE,
        "pictures/upper/picture_bytes": first(lambda _: 0),
    },
    "counts of groups": {
        "grouped/predicted/group": OTHER,
        "grouped/predicted/n_images": MORE,
        "grouped/predicted/upper/activation_count": MORE,
        "grouped/predicted/upper.one.0.weight/influence_count": MORE,
    },
    "usage": {
        "usage/upper/class_count": MORE,
        "usage/upper/top_class_count": MORE,
        "usage/upper/image_count": MORE,
        "usage/upper/entropy": first(lambda _: 9.0),
    },
}


def test_every_check_is_made_and_finds_nothing_in_a_right_store(path: Path) -> None:
    report = verify_store(path, 3)
    assert report.right, "\n".join(report.lines())
    assert [check.name for check in report.checks] == [kind.name for kind in KINDS]
    assert all(check.looked_at for check in report.checks)


@pytest.mark.parametrize(
    ("check", "address", "change"),
    [(check, address, change) for check, changes in WRONG.items() for address, change in changes.items()],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_number_is_found(path: Path, check: str, address: str, change: Change) -> None:
    store = Store.open(path, writable=True)
    right = store.read(address)
    (kind,) = [kind for kind in KINDS if kind.name == check]
    store.write(address, change(right.copy()))
    try:
        wrong = [text for text in kind.find(Store.open(path), 1) if text is not None]
    finally:
        store.write(address, right)
    assert wrong


def test_what_is_not_there_yet_is_still_to_run_and_not_wrong_itself(finished: RunConfig, tmp_path: Path) -> None:
    out = copied(finished, tmp_path).out
    with Store.open(out, writable=True).changing():
        for group in ("matrices", "examples", "graphs", "embedding"):
            shutil.rmtree(out / group)
    checks = {check.name: check.wrong for check in verify_store(out, 1).checks}
    assert checks == {
        "files": (),
        "arrays as registered": (),
        "tables": (),
        "stages complete": ("still to run: reduce, graphs, embed",),
        "layer graph complete": (),
        "images measured again": (),
    }


def test_a_layer_that_does_not_add_up_is_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = (Completeness("lower", 1e-7, ("one",), ()), Completeness("upper", 0.5, ("two",), ()))
    monkeypatch.setattr(recheck, "check_completeness", lambda module, network: found)
    (kind,) = [kind for kind in KINDS if kind.name == "layer graph complete"]
    right, wrong = kind.find(Store.open(path), 1)
    assert right is None and wrong is not None and "into upper differ from the output of two by 0.5" in wrong
